"""A project that limits logins by django-axes, as docs/howto/throttle.md says: ``axes_project.py``.

Prints what the answers to a good password are: to others, to who has failed too often, and what
the system checks say.
"""

import json
import re
from pathlib import Path
from typing import Any

import django
from django.conf import settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "howto" / "throttle.md"
FENCES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
PASSWORD = "correct horse battery staple"

[snippet] = [one for one in FENCES if "AxesStandaloneBackend" in one]
given: dict[str, Any] = {
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "rest_framework",
        "tokens",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
}
exec(snippet, given)  # noqa: S102 (our own page)

settings.configure(
    SECRET_KEY="a-secret-for-tests-only-that-is-long-enough-for-every-hmac-of-sha2",
    ROOT_URLCONF="tokens.urls",
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    **{name: value for name, value in given.items() if name.isupper()},
)
django.setup()


def main() -> None:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from rest_framework.test import APIClient

    from tokens.checks.throttling import check_throttles

    call_command("migrate", verbosity=0)
    for name in ("ada", "bob"):
        get_user_model().objects.create_user(name, password=PASSWORD)

    def log_in(name: str, password: str = PASSWORD, address: str = "192.0.2.1") -> int:
        form = {"username": name, "password": password}
        return int(APIClient().post("/token/", form, REMOTE_ADDR=address).status_code)

    before = log_in("ada")
    wrong = [log_in("ada", "wrong") for _ in range(settings.AXES_FAILURE_LIMIT)]
    print(
        json.dumps(
            {
                "before": before,
                "wrong": sorted(set(wrong)),
                "locked": log_in("ada"),
                "from elsewhere": log_in("ada", address="192.0.2.2"),
                "colleague": log_in("bob"),
                "checks": [message.id for message in check_throttles()],
            }
        )
    )


if __name__ == "__main__":
    main()
