"""Users, as people name them on a command line."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.management.base import CommandError

from .. import users
from ..schedule.exit_codes import USAGE


def find_user(text: str, *, using: str) -> AbstractBaseUser:
    """Return the user whose name is ``text``, or ``id:`` and the primary key.

    Also one whom the model's usual manager hides. Raises CommandError if there is none.
    """
    text = str(text)
    model: Any = get_user_model()
    name, value = model.USERNAME_FIELD, text
    if text.startswith("id:"):
        name, value = "pk", text.removeprefix("id:")
    if "\0" not in value:  # PostgreSQL can't be asked for it
        try:
            user: AbstractBaseUser = users.everyone(using).get(**{name: value})
            return user
        except (ObjectDoesNotExist, ValueError, TypeError, OverflowError, ValidationError):
            pass
    raise CommandError(f"There is no user {text!r}.", returncode=USAGE)
