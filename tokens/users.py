"""The users that tokens name, as exactly as the tokens do."""

import math
from collections.abc import Collection
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist, ValidationError
from django.db import connections, router, transaction
from django.db.models import Exists, Expression, OuterRef, QuerySet
from django.utils.module_loading import import_string

from . import databases, retry
from .claims import Claims
from .conf import simplejwt
from .exceptions import UserChanged, UserUnknown
from .models import TokenSession


def lookup(claims: Claims) -> tuple[Any, Any]:
    """Return the field by which the claims name a user, and its value. Raises UserUnknown.

    An empty id names nobody, unless a session says whose it is: many users may have one.
    """
    field = id_field()
    if not claims.user_id and claims.sid is None:
        raise UserUnknown
    try:
        value = field.to_python(claims.user_id)
    except ValidationError as error:
        raise UserUnknown from error
    if value is None or not _fits(field, value):
        raise UserUnknown
    return field, value


def id_field() -> Any:
    """Return the field of the user model that tokens name users by."""
    options = get_user_model()._meta
    name = simplejwt.USER_ID_FIELD
    return options.pk if name == "pk" else options.get_field(name)


def _fits(field: Any, value: Any) -> bool:
    """Return whether the column can hold ``value``, and so a database can compare it.

    The field's validators do not tell: most are rules for forms, and a name that a form would
    reject is a name.
    """
    while field.remote_field:
        field = field.target_field
    if isinstance(value, int):
        operations = connections[router.db_for_write(get_user_model())].ops
        try:
            low, high = operations.integer_field_range(field.get_internal_type())
        except KeyError:  # a project's own kind of field
            return True
        return low <= value <= high
    return not isinstance(value, Decimal | float) or math.isfinite(value)


def database() -> str:
    """Return the alias of the database that users are written to: no replica of it lags."""
    return router.db_for_write(get_user_model())


def shown(using: str | None = None) -> QuerySet[Any]:
    """Return the users that the default manager shows, as the database ``using`` has them.

    A manager that names a database itself keeps it.
    """
    rows: Any = get_user_model()._default_manager.all()
    found: QuerySet[Any] = rows if using is None or rows._db else rows.using(using)
    return found


def read_from(using: str) -> str:
    """Return the alias of the database that ``shown(using)`` reads."""
    return using if are_plain() else shown(using).db


def find(
    claims: Claims, *, using: str, session: UUID | None, refused: Expression | None
) -> tuple[AbstractBaseUser, bool]:
    """Return the user that the claims name, and the answer to ``refused``. One statement.

    With ``session``, which must be in the same database, nobody is found who is not its user.
    Raises UserUnknown.
    """
    field, value = lookup(claims)
    if field.primary_key:
        session = None  # a name or an address may pass to somebody else, and a key does not

    def rows(condition: Expression | None) -> QuerySet[Any]:
        rows = shown(using)
        if condition is not None:
            rows = databases.annotated(rows, condition)
        if session is not None:
            others = TokenSession.objects.filter(sid=session).exclude(user_id=OuterRef("pk"))
            rows = rows.exclude(Exists(others))
        return rows

    named = {field.name: value}
    if are_plain() and databases.compares_plainly(field):
        sample = databases.HERE if refused is not None else None
        found = databases.prepared(
            (find, field, session is None, refused is None),
            lambda: rows(sample).filter(**named).order_by()[:2],
            [(field, value)] if session is None else [(field, value), (_SID, session)],
            using=using,
        )
        if found is not None:
            return _only(found(refused))
    try:
        user = rows(refused).get(**named)
    except (ObjectDoesNotExist, MultipleObjectsReturned):
        raise UserUnknown from None
    return user, refused is not None and databases.answer_of(user)


def _only(found: list[tuple[Any, bool]]) -> tuple[Any, bool]:
    if len(found) != 1:
        raise UserUnknown
    return found[0]


_SID = TokenSession._meta.get_field("sid")


def are_plain() -> bool:
    """Return whether the default manager shows all users, as rows of their table."""
    return databases.is_plain(get_user_model()._default_manager)


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
    rows = shown(database()).filter(**{field.name: value}).values_list("pk", flat=True)
    return retry.lost_races(rows.first)()


def are_local() -> bool:
    """Return whether the project's requests read users, and not only the tokens that name them.

    With stateless authentication by default, users may live in another service's database.
    """
    framework = getattr(settings, "REST_FRAMEWORK", None) or {}
    names = framework.get("DEFAULT_AUTHENTICATION_CLASSES", ())
    return not any(_is_stateless(name) for name in names)


@lru_cache
def _is_stateless(name: str | type) -> bool:
    found = import_string(name) if isinstance(name, str) else name
    return any(one.__name__ == "JWTStatelessUserAuthentication" for one in found.__mro__)


def visible_in(using: str) -> Exists | None:
    """Return the condition that the default manager shows the user of a session's row.

    None if users are written to another database than ``using``, where no statement can join them.
    """
    rows = shown(database())
    return Exists(rows.filter(pk=OuterRef("user_id"))) if rows.db == using else None


def are_joined(using: str) -> bool:
    """Return whether a session's row of ``using`` that joins its user needs no ``visible_in``."""
    model = get_user_model()
    return databases.is_plain(model._default_manager) and router.db_for_write(model) == using


def is_visible(pk: Any) -> bool:
    """Return whether the default manager shows this user where it is written. One statement."""
    return retry.lost_races(shown(database()).filter(pk=pk).exists)()


def unchanged(user: AbstractBaseUser) -> QuerySet[Any]:
    """Return the row of ``user`` if it still has this password, and is active if ``user`` is.

    A login takes time. What the user was when it began must still hold when it ends.
    """
    model = get_user_model()
    columns = {field.attname for field in model._meta.concrete_fields}
    rows = everyone(database()).filter(pk=user.pk)
    if "password" in columns:
        rows = rows.filter(password=user.password)
    if "is_active" in columns and user.is_active:
        rows = rows.filter(is_active=True)
    return rows


@retry.lost_races
def check_unchanged(user: AbstractBaseUser) -> None:
    """Raise UserChanged unless ``user`` is unchanged once all changes under way are committed."""
    rows = unchanged(user)
    databases.catch_up(connections[rows.db])
    with transaction.atomic(rows.db):
        if not read_locked(rows, "pk"):
            raise UserChanged


def lock_named(claims: Claims, *, using: str) -> None:
    """Do what ``lock`` does for the user that the claims name. Raises UserUnknown."""
    field, value = lookup(claims)
    lock(using=using, **{field.name: value})


def everyone(using: str | None = None) -> QuerySet[Any]:
    """Return all users, those included that the model's managers hide, in no order.

    A plain queryset: a manager may annotate, join, or slice, and a model may be ordered by another
    table, and such rows can't be locked.
    """
    return QuerySet(get_user_model(), using=using).order_by()


def lock(*, using: str, **lookups: Any) -> None:
    """Wait until no other transaction decides about this user's logins. Call it in a transaction.

    Lock in a separate statement: a combined SELECT would, after waiting, return the snapshot taken
    before the wait. A database that can't lock rows lets nobody else write.
    """
    if not _begin_writing(using):
        list(everyone(using).filter(**lookups).select_for_update().values_list("pk"))


def read_locked(
    users: QuerySet[Any], *fields: str, limit: int | None = None
) -> list[tuple[Any, ...]]:
    """Return these fields of ``users``, rows of ``everyone``, and do what ``lock`` does for each.

    They come, and are locked, in the order of their keys, so that two callers don't deadlock.
    """
    if not _begin_writing(users.db):
        users = users.select_for_update()
    return list(users.order_by("pk").values_list(*fields)[:limit])


def read_all_locked(
    pks: Collection[Any], *fields: str, using: str, users_in: str | None = None
) -> list[tuple[Any, ...]]:
    """Return these fields of the users with these keys, and do what ``lock`` does on ``using``.

    ``users_in`` is the database that has the users, if it is another one.
    """
    found = everyone(users_in or using).filter(pk__in=pks)
    if found.db == using:
        return read_locked(found, *fields)
    lock(using=using, pk__in=pks)
    return list(found.values_list(*fields))


def _begin_writing(using: str) -> bool:
    return databases.of(connections[using]).begin_writing(TokenSession._meta.db_table)
