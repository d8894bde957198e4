"""Make the tables, and the users that log in."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command

PASSWORD = "correct horse battery staple"
USERS = 1_000


def main() -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    user_model: Any = get_user_model()
    password = make_password(PASSWORD)
    user_model.objects.bulk_create(
        user_model(username=f"user{number}", password=password) for number in range(USERS)
    )
    return {}


def credentials(number: int) -> dict[str, str]:
    """Return what the ``number``-th user logs in with."""
    return {"username": f"user{number % USERS}", "password": PASSWORD}
