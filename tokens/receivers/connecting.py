"""Connect the signals of Django that the app listens to."""

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.db.models.signals import post_save, pre_delete, pre_save

from .. import snapshot
from . import changes, deletions


def connect() -> None:
    """Connect the receivers to the user model and its relatives, and to no other model.

    A receiver of deletions for every model would cost each of them Django's fast deletes.
    """
    user_model = get_user_model()
    for model in apps.get_models():
        label = model._meta.label
        if _shares_columns(model, user_model):
            pre_save.connect(changes.before_save, model, dispatch_uid=f"tokens.before_save.{label}")
            post_save.connect(changes.after_save, model, dispatch_uid=f"tokens.after_save.{label}")
        if issubclass(model, user_model):
            # If a parent is deleted, Django deletes the user with it.
            pre_delete.connect(
                deletions.before_delete, model, dispatch_uid=f"tokens.before_delete.{label}"
            )


def forget_snapshot(*, using: str, **kwargs: Any) -> None:
    """Forget the snapshot of a database that was migrated, or flushed as after a test."""
    snapshot.forget(using=using)


def _shares_columns(model: type[Model], other: type[Model]) -> bool:
    """Return whether a save of ``model`` may write a row of ``other``: a proxy, parent or child."""
    return not set(model._meta.concrete_fields).isdisjoint(other._meta.concrete_fields)
