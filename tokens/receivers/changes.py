"""End a user's sessions when the user is saved with changes that count (ASVS 5.0, 7.4.2, 7.4.3).

``before_save`` reads the stored user, and ``after_save`` compares. Django sends its signals for
instances; ``QuerySet.update()`` sends none. After such a bulk change, call ``sessions.end_for``,
or run ``manage.py revoke_tokens``. Even without that, the next refresh of a session
notices that the password has changed.
"""

import inspect
from collections.abc import Collection, Iterator
from copy import copy
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import NOT_PROVIDED, Field, Model

from .. import blacklist, databases, passwords, retry, sessions, users
from ..conf import conf, simplejwt
from ..models import BlacklistEntry

Reason = BlacklistEntry.Reason

# On an instance: the stored users of the saves under way, one for each; saves can be nested.
_STORED = "_tokens_stored"


def before_save(
    *,
    sender: type[Model],
    instance: Model,
    raw: bool,
    using: str,
    update_fields: Collection[str] | None,
    **kwargs: Any,
) -> None:
    """Remember the user as stored, if the save may change what counts. One statement at most.

    Raises databases.UnsupportedDatabase before anything is saved, if no session could be ended.
    """
    if raw:
        return
    watched = update_fields is None or _may_count(update_fields)
    # Django inserts a new instance whose key has a default, and does not look for its row.
    inserts = instance._state.adding and _has_new_key(instance)
    stored = _stored(sender, instance, using) if watched and not inserts else None
    if stored is not None:
        _check_support(stored, instance, update_fields)
    vars(instance).setdefault(_STORED, []).append(stored)


def after_save(
    *,
    sender: type[Model],
    instance: Model,
    raw: bool,
    created: bool,
    using: str,
    update_fields: Collection[str] | None,
    **kwargs: Any,
) -> None:
    """End the user's sessions if the save changed what counts."""
    if raw:
        return
    # None, too, if a project has muted the signal before the save.
    under_way = vars(instance).pop(_STORED, None) or [None]
    stored = under_way.pop()
    if under_way:
        vars(instance)[_STORED] = under_way
    if stored is not None and not created:
        user = _as_saved(stored, instance, using, update_fields)
        reason = _reason_to_end(stored, user, instance)
        if reason is Reason.PASSWORD_CHANGE:
            sessions.end_for_new_password(user, stored)
        elif reason is not None:
            sessions.end_all(stored, reason=reason)
        elif stored.password != user.password and "password_change" in conf.TOKENS_REVOKE_ON:
            sessions.rehash(user, stored)
    passwords.spend(instance)


def _reason_to_end(before: Any, user: Any, saved: Any) -> Reason | None:
    """Return why a user's sessions end who was ``before`` and is ``user`` now, or None."""
    counted = conf.TOKENS_REVOKE_ON
    if _user_id(before) != _user_id(user):
        # Tokens with the old id could become those of another user.
        return Reason.ID_CHANGE
    if before.is_active and not user.is_active and "deactivation" in counted:
        return Reason.DEACTIVATION
    if "password_change" not in counted:
        return None
    same = passwords.is_same(before.password, user.password, saved=saved)
    return None if same else Reason.PASSWORD_CHANGE


def _check_support(stored: Any, instance: Model, update_fields: Collection[str] | None) -> None:
    """Raise databases.UnsupportedDatabase if the save would end sessions and nothing could.

    Afterwards it would be too late: the new password, for example, would already be stored.
    """
    connection = connections[blacklist.database()]
    if databases.supports(connection):
        return
    user = copy(stored)
    for field in _saved_fields(instance, update_fields):
        if field.name in _names():
            value = vars(instance)[field.attname]
            known = not hasattr(value, "resolve_expression")
            setattr(user, field.attname, field.to_python(value) if known else None)
    if _reason_to_end(stored, user, instance) is not None:
        databases.of(connection)


def _user_id(user: Any) -> str:
    return str(getattr(user, simplejwt.USER_ID_FIELD, None))  # a wrong name stops nobody's save


def _names() -> tuple[str, str, str]:
    return ("password", "is_active", simplejwt.USER_ID_FIELD)


def _may_count(update_fields: Collection[str]) -> bool:
    """Return whether a save of these fields only may change what counts."""
    options = get_user_model()._meta
    for name in _names():
        try:
            field: Any = options.pk if name == "pk" else options.get_field(name)
        except FieldDoesNotExist:
            # A property may depend on any field; a plain value never changes.
            if not isinstance(inspect.getattr_static(get_user_model(), name, None), bool | None):
                return True
        else:
            if {field.name, field.attname} & set(update_fields):
                return True
    return False


def _stored(model: type[Model], instance: Model, using: str) -> Any:
    """Return the user that the saved row belongs to, as stored, or None if there is none."""
    key = _common_model(model)._meta.pk
    value = getattr(instance, key.attname)
    if value is None:
        return None
    rows = users.everyone(using).filter(**{key.attname: value})
    return retry.lost_races(lambda: next(iter(rows.all()), None))()


def _common_model(model: type[Model]) -> type[Model]:
    """Return the model whose key ``model`` shares with the users: theirs, or a parent of it."""
    user_model: Any = get_user_model()
    if issubclass(model, user_model):
        return user_model  # type: ignore[no-any-return]
    family = (model._meta.concrete_model or model, *model._meta.get_parent_list())
    return next(parent for parent in family if issubclass(user_model, parent))


def _has_new_key(instance: Model) -> bool:
    key = instance._meta.pk
    return key.default is not NOT_PROVIDED or key.db_default is not NOT_PROVIDED


def _as_saved(
    stored: Any, instance: Model, using: str, update_fields: Collection[str] | None
) -> Any:
    """Return the user as stored now: ``stored``, with the fields that were saved."""
    user = copy(stored)
    for field in _saved_fields(instance, update_fields):
        value = vars(instance)[field.attname]
        if hasattr(value, "resolve_expression"):  # what it came to, the database knows
            return _stored(type(instance), instance, using)
        setattr(user, field.attname, field.to_python(value) if field.name in _names() else value)
    return user


def _saved_fields(
    instance: Model, update_fields: Collection[str] | None
) -> Iterator["Field[Any, Any]"]:
    shared = set(get_user_model()._meta.concrete_fields)
    for field in instance._meta.concrete_fields:
        named = update_fields is None or {field.name, field.attname} & set(update_fields)
        if field in shared and named and field.attname in vars(instance):
            yield field
