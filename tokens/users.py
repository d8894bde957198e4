"""The users that tokens name, as exactly as the tokens do."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import connections

from .claims import Claims
from .conf import simplejwt
from .exceptions import UserUnknown


def lookup(claims: Claims) -> tuple[Any, Any]:
    """Return the field by which the claims name a user, and its value. Raises UserUnknown."""
    options = get_user_model()._meta
    name = simplejwt.USER_ID_FIELD
    field: Any = options.pk if name == "pk" else options.get_field(name)
    try:
        value = field.to_python(claims.user_id)
        if value is not None:
            field.run_validators(value)  # a value that does not fit the column names nobody
    except ValidationError as error:
        raise UserUnknown from error
    if value is None:
        raise UserUnknown
    return field, value


def is_named(user: AbstractBaseUser, claims: Claims) -> bool:
    """Return whether the claims name exactly this user: a value that the ORM coerced does not."""
    return str(getattr(user, simplejwt.USER_ID_FIELD)) == claims.user_id


def pk_of(claims: Claims, *, ask: bool = True) -> Any:
    """Return the primary key of the user that the claims name, or None.

    If tokens name users by primary key, this takes no statement and does not ask whether the user
    still exists. If ``USER_ID_FIELD`` is another field, it takes one statement; without ``ask`` it
    returns None instead.
    """
    try:
        field, value = lookup(claims)
    except UserUnknown:
        return None
    if field.primary_key or not ask:
        return value if field.primary_key else None
    users = get_user_model()._default_manager.filter(**{field.name: value})
    return users.values_list("pk", flat=True).first()


def lock_named(claims: Claims, *, using: str) -> None:
    """Do what ``lock`` does for the user that the claims name. Raises UserUnknown."""
    field, value = lookup(claims)
    lock(using=using, **{field.name: value})


def lock(*, using: str, **lookups: Any) -> None:
    """Wait until no other transaction decides about this user's logins. Call it in a transaction.

    Lock in a separate statement: a combined SELECT would, after waiting, return the snapshot taken
    before the wait. SQLite has only one writer at a time, and a transaction that reads first may
    not be allowed to write.
    """
    if connections[using].features.has_select_for_update:
        users = get_user_model()._default_manager.using(using).filter(**lookups)
        list(users.select_for_update().values_list("pk"))
