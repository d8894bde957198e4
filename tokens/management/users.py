"""Users, as people name them on a command line."""

import getpass
import os
import socket
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import (
    FieldDoesNotExist,
    MultipleObjectsReturned,
    ObjectDoesNotExist,
    ValidationError,
)
from django.core.management.base import CommandError
from django.db.models import QuerySet

from .. import retry, users
from ..schedule.exit_codes import USAGE

# Among so many, the one that is meant is looked for.
MOST_GROUPS = 1_000

_WRONG_VALUE = (ValueError, TypeError, OverflowError, ValidationError)


def operator() -> str:
    """Return who runs the command: the operating system's user, and the host.

    Whoever called ``sudo`` is that user. A container may have no name for its user, only a number.
    """
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError, ImportError):
            name = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"os:{name}@{socket.gethostname()}"


def find_user(text: str, *, using: str) -> AbstractBaseUser:
    """Return the user whose name is ``text``, or ``id:`` and the primary key.

    Also one whom the model's usual manager hides. Raises CommandError if there is none, or several.
    """
    user = _find(str(text), using)
    if user is None:
        raise CommandError(f"There is no user {str(text)!r}.", returncode=USAGE)
    return user


def find_keys(texts: Collection[str], *, using: str) -> dict[str, Any]:
    """Return the primary keys of these users by what ``texts`` call them, as ``find_user`` does.

    Two statements, and one more for each that is spelled in another way, or is not there.
    """
    asked: dict[str, dict[str, str]] = {}
    for text in texts:
        field, value = _field_and_value(text)
        if "\0" not in value:
            asked.setdefault(field, {})[value] = text
    found = dict[str, Any]()
    for field, values in asked.items():
        found |= _spelled_so(field, values, using)
    for text in texts:
        if text not in found and (user := _find(text, using)) is not None:
            found[text] = user.pk
    return found


def in_groups(names: Collection[str], *, using: str) -> QuerySet[Any]:
    """Return the users in any of these groups. Raises CommandError if one is unknown."""
    groups: Any = _field("groups", "--group").related_model
    if groups is None or not any(field.name == "name" for field in groups._meta.get_fields()):
        raise CommandError(
            f"--group: the groups of {get_user_model()._meta.label} have no names.",
            returncode=USAGE,
        )
    rows = groups._base_manager.using(using)
    found = list[Any]()
    for name in names:
        keys = [] if "\0" in name else list(rows.filter(name=name).values_list("pk", flat=True))
        if not keys:
            known = rows.order_by("name").values_list("name", flat=True)[:MOST_GROUPS]
            near = [f" Did you mean {one!r}?" for one in get_close_matches(name, known, n=1)]
            raise CommandError("".join([f"There is no group {name!r}.", *near]), returncode=USAGE)
        found += keys
    return users.everyone(using).filter(groups__in=found).distinct()


def not_staff(people: QuerySet[Any]) -> QuerySet[Any]:
    """Return those who may not enter the admin. Raises CommandError if the model can't tell."""
    _field("is_staff", "--exclude-staff")
    return people.filter(is_staff=False)


def _field(name: str, option: str) -> Any:
    model = get_user_model()
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        raise CommandError(
            f"{option}: the user model {model._meta.label} has no field {name!r}.",
            returncode=USAGE,
        ) from None


def _field_and_value(text: str) -> tuple[str, str]:
    if text.startswith("id:"):
        return "pk", text.removeprefix("id:")
    return str(get_user_model().USERNAME_FIELD), text


def _find(text: str, using: str) -> AbstractBaseUser | None:
    field, value = _field_and_value(text)
    if "\0" in value:  # PostgreSQL can't be asked for it
        return None
    try:
        find = retry.lost_races(users.everyone(using).get)
        user: AbstractBaseUser = find(**{field: value})
    except (ObjectDoesNotExist, *_WRONG_VALUE):
        return None
    except MultipleObjectsReturned:
        raise CommandError(
            f"There are several users {text!r}: name one as id:KEY.", returncode=USAGE
        ) from None
    return user


def _spelled_so(field: str, values: dict[str, str], using: str) -> dict[str, Any]:
    """Return the keys of the users whose ``field`` is exactly one of these, if nobody shares it."""
    try:
        rows = users.everyone(using).filter(**{f"{field}__in": list(values)})
        # Not ``values_list``: Django 5.2.0 answers one column if both have one name.
        found = retry.lost_races(lambda: list(rows.values("pk", field)))()
    except _WRONG_VALUE:
        return {}
    keys = dict[str, list[Any]]()
    for row in found:
        keys.setdefault(str(row[field]), []).append(row["pk"])
    return {
        values[value]: theirs[0]
        for value, theirs in keys.items()
        if value in values and len(theirs) == 1
    }
