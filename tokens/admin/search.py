"""Searches that use an index, whatever people type."""

import uuid
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import CharField, Field, Q, QuerySet, TextField

from .. import databases
from ..origin import ip_address
from ..users import database, everyone

MAX_USERS = 100

_ENDS_RANGE = "\U0010ffff"  # sorts after every character


def users_named(term: str) -> tuple[list[Any], bool]:
    """Return primary keys of users whose name begins with ``term``, and whether these are all.

    Returns at most MAX_USERS keys, always including an exact match. Takes two statements, which
    both use the index on the name.
    """
    users = everyone(database())
    options = get_user_model()._meta
    name = cast("Field[Any, Any]", options.get_field(get_user_model().USERNAME_FIELD))
    if not term or "\0" in term or len(term) > (name.max_length or 255):
        return [], True
    try:
        exact = list(users.filter(**{name.name: term}).values_list("pk", flat=True)[:1])
    except (ValueError, TypeError, ValidationError, OverflowError):  # no name, if names are numbers
        return [], True
    if not isinstance(name, CharField | TextField):
        return exact, True
    begins = _beginning_with(users, name.name, term).exclude(pk__in=exact)
    found = exact + list(begins.values_list("pk", flat=True)[: MAX_USERS + 1])
    return found[:MAX_USERS], len(found) <= MAX_USERS


def _beginning_with(users: QuerySet[Any], name: str, term: str) -> QuerySet[Any]:
    if databases.of(connections[users.db]).FINDS_PREFIXES_BY_RANGE:
        return users.filter(**{f"{name}__gte": term, f"{name}__lt": term + _ENDS_RANGE})
    return users.filter(**{f"{name}__startswith": term})


def users_called(term: str, *, limit: int) -> list[Any]:
    """Return at most ``limit`` users with this key, name or e-mail address, in any letter case.

    Reads the table of users once if their names and addresses have no index in that letter case.
    """
    model = get_user_model()
    key, name = user_keys(term), model._meta.get_field(model.USERNAME_FIELD)
    condition = Q(pk__in=key)
    texts = {name.name} if isinstance(name, CharField | TextField) else set()
    email = model.get_email_field_name()
    if any(field.name == email for field in model._meta.concrete_fields):
        texts.add(email)
    if term and "\0" not in term:
        for field in texts:
            condition |= Q(**{f"{field}__iexact": term})
    return list(everyone(database()).filter(condition).order_by("pk")[:limit])


def user_keys(term: str) -> list[Any]:
    """Return the primary key of a user that ``term`` spells, or an empty list. No statement."""
    key: Any = get_user_model()._meta.pk
    while key.remote_field:  # the key of a parent
        key = key.target_field
    try:
        value = key.to_python(term)
        key.run_validators(value)  # a number may not fit the column
    except ValidationError:
        return []
    return [] if "\0" in term else [value]


def uuids(term: str) -> list[uuid.UUID]:
    """Return the UUID that ``term`` spells, in any notation, or an empty list."""
    try:
        return [uuid.UUID(term)]
    except ValueError:
        return []


def ip_addresses(term: str) -> list[str]:
    """Return ``term`` as an IP address in the notation in which it is stored, or an empty list."""
    address = ip_address(term)
    return [] if address is None else [address]
