from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tokens", "0002_record_what_a_run_leaves")]

    operations = [
        migrations.AddIndex(
            model_name="blacklistentry",
            index=models.Index(fields=["created_at"], name="tokens_entry_created"),
        ),
    ]
