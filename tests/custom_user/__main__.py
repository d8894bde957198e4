"""Shows the admin to a user of another shape; run in a process of its own by test_admin."""

from datetime import timedelta

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

from tests.custom_user.models import User  # noqa: E402
from tokens import clock  # noqa: E402
from tokens.keys import key_for, new_sid  # noqa: E402
from tokens.models import BlacklistEntry, TokenSession  # noqa: E402

setup_test_environment()
call_command("migrate", verbosity=0, run_syncdb=True)
user = User.objects.create(mail="ada@example.com", is_superuser=True)
end = clock.now() + timedelta(hours=1)
entry = BlacklistEntry.objects.create(
    key=key_for("token", "jti", issuer=""), scope="token", subject="jti", user=user, expires_at=end
)
session = TokenSession.objects.create(sid=new_sid(), user=user, expires_at=end)
client = Client()
client.force_login(user)
for model, row in (("blacklistentry", entry), ("tokensession", session)):
    url = f"/admin/tokens/{model}/"
    for query in ("", "?q=ada@", f"?user={user.pk}", f"{row.pk}/change/"):
        answer = client.get(url + query)
        assert answer.status_code == 200, (url, query)
        assert "ada@example.com" in answer.text, (url, query)
    assert client.get(url + "?user=1", follow=True).status_code == 200
assert client.post(f"/admin/tokens/blacklistentry/{entry.pk}/delete/", {"post": "yes", "why": "x"})
assert not BlacklistEntry.objects.exists()
