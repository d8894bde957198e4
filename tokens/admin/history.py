"""What is recorded in the admin's history: who did what to whom, and why."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest

from ..origin import acting, used_by


class Act(NamedTuple):
    """What was done to the row of ``model`` with this key, or, without a key, to many rows.

    ``name`` is what the history calls it.
    """

    model: type[Model]
    key: Any
    name: str
    message: str


def to_user(pk: Any, name: str, message: str) -> Act:
    """Return an act that stands in the history of the user with this primary key."""
    return Act(get_user_model(), pk, name, message)


@contextmanager
def acting_for(request: HttpRequest) -> Iterator[None]:
    """Let what is revoked in this context say who did it in the admin, and from where."""
    from ..api.client import client_of  # not when Django starts: only acts need the endpoints

    with used_by(client_of(request)), acting(request.user):
        yield


def record(request: HttpRequest, acts: Iterable[Act]) -> list[LogEntry]:
    """Record these acts of the person who sent the request."""
    by = cast(AbstractBaseUser, request.user)
    return LogEntry.objects.bulk_create(
        LogEntry(
            user_id=by.pk,
            content_type=ContentType.objects.get_for_model(act.model),
            object_id=None if act.key is None else str(act.key),
            object_repr=act.name[:200],
            action_flag=CHANGE,
            change_message=act.message,
        )
        for act in acts
    )
