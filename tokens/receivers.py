"""End a user's sessions when the user changes (ASVS 5.0, 7.4.2 and 7.4.3).

Django sends these signals for instances; ``QuerySet.update()`` sends none. After such a bulk
change, call ``sessions.end_all`` for each user, or run ``manage.py revoke_tokens``. Even without
that, the next refresh of a session notices that the password has changed.
"""

from collections.abc import Collection
from copy import copy
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models.signals import post_save, pre_delete, pre_save

from . import sessions, snapshot, user_deletions
from .conf import conf
from .models import BlacklistEntry

Reason = BlacklistEntry.Reason


def connect() -> None:
    """Connect the receivers to the user model and its proxies, and to no other model.

    A receiver for every model would cost each of them Django's fast deletes.
    """
    for model in apps.get_models():
        if issubclass(model, get_user_model()):
            label = model._meta.label
            pre_save.connect(keep_on_rehash, model, dispatch_uid=f"tokens.rehash.{label}")
            post_save.connect(end_on_change, model, dispatch_uid=f"tokens.change.{label}")
            pre_delete.connect(
                user_deletions.before_delete, model, dispatch_uid=f"tokens.before_delete.{label}"
            )


def end_on_change(
    *, instance: Any, created: bool, update_fields: Collection[str] | None, **kwargs: Any
) -> None:
    """End the user's sessions if a new password was saved, or the user was made inactive."""
    if created or kwargs.get("raw"):
        return
    if "password_change" in conf.TOKENS_REVOKE_ON and _saves_new_password(instance, update_fields):
        sessions.end_all(instance, reason=Reason.PASSWORD_CHANGE)
    elif "deactivation" in conf.TOKENS_REVOKE_ON and _saves_inactive(instance, update_fields):
        sessions.end_all(instance, reason=Reason.DEACTIVATION)


def forget_snapshot(*, using: str, **kwargs: Any) -> None:
    """Forget the snapshot of a database that was migrated, or flushed as after a test."""
    snapshot.forget(using=using)


def keep_on_rehash(
    *, instance: Any, update_fields: Collection[str] | None, using: str, **kwargs: Any
) -> None:
    """Keep the sessions of a user whose password only gets a better hash at login."""
    if update_fields is None or set(update_fields) != {"password"} or not _is_rehash(instance):
        return
    model = type(instance)
    old = model._base_manager.using(using).filter(pk=instance.pk).values_list("password", flat=True)
    before = copy(instance)
    before.password = old.first() or ""
    sessions.rehash(instance, before)


def _saves_new_password(user: Any, update_fields: Collection[str] | None) -> bool:
    # set_password() keeps the raw password until save() is done, for password validators.
    return user._password is not None and (update_fields is None or "password" in update_fields)


def _saves_inactive(user: Any, update_fields: Collection[str] | None) -> bool:
    return not user.is_active and (update_fields is None or "is_active" in update_fields)


def _is_rehash(user: Any) -> bool:
    # check_password() calls set_password() and takes back that it was a change.
    return "_password" in vars(user) and user._password is None
