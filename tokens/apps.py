from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from . import checks
from .checks.versions import refuse_what_cannot_start


class TokensConfig(AppConfig):
    name = "tokens"
    verbose_name = _("Tokens")
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        refuse_what_cannot_start()
        super().import_models()

    def ready(self) -> None:
        from . import old_tables, patches, receivers

        checks.load()
        patches.install()
        receivers.connect()
        post_migrate.connect(receivers.forget_snapshot, self)
        post_migrate.connect(old_tables.look_after_migrate, self)
