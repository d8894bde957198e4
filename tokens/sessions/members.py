"""The users that a caller names by a queryset, or one by one, as primary keys in batches."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from .. import users

# Calls a question to a database, and may do so again if that fails.
Read = Callable[[Callable[[], list[Any]], str], list[Any]]


def batches(people: Iterable[Any], *, size: int, read: Read) -> Iterator[list[Any]]:
    """Yield the primary keys of ``people``, at most ``size`` at a time, none twice in a batch.

    Raises TypeError if they are no users.
    """
    if isinstance(people, BaseManager):
        people = people.all()
    if isinstance(people, QuerySet) and issubclass(people.model, get_user_model()):
        yield from _of_queryset(_checked(people), size, read)
    elif isinstance(people, str | bytes):
        raise TypeError(f"This takes users, or their primary keys, and not the text {people!r}.")
    else:
        yield from _cut(map(_key, people), size)


def _of_queryset(found: QuerySet[Any], size: int, read: Read) -> Iterator[list[Any]]:
    query = found.query
    if query.is_sliced or query.combinator or query.distinct_fields:
        # Which rows these are may change with what a batch does, and not all databases have
        # such subqueries.
        keys = found.values_list("pk", flat=True)
        yield from _cut(read(lambda: list(keys), found.db), size)
        return
    # As a subquery, whatever it joins, groups or numbers stays as it is.
    rows = users.everyone(found.db).filter(pk__in=found.order_by().values("pk"))
    rows = rows.order_by("pk")
    page = rows.values_list("pk", flat=True)[:size]
    while batch := read(lambda page=page: list(page), found.db):  # type: ignore[misc]
        yield batch
        if len(batch) < size:
            return
        page = rows.filter(pk__gt=batch[-1]).values_list("pk", flat=True)[:size]


def _checked(found: QuerySet[Any]) -> QuerySet[Any]:
    """Return the queryset, read where users are written unless it names a database."""
    columns = found.query.group_by
    key = found.model._meta.pk
    if isinstance(columns, tuple) and all(getattr(one, "target", None) != key for one in columns):
        raise TypeError("This queryset groups users by something else: its rows are no users.")
    named: Any = found
    return found if named._db else found.using(users.database())


def _cut(keys: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(keys)
    while batch := list(islice(rest, size)):
        yield list(dict.fromkeys(batch))


def _key(one: Any) -> Any:
    if not isinstance(one, Model):
        return one
    if not isinstance(one, get_user_model()):
        raise TypeError(f"This takes users, or their primary keys, and not {one!r}.")
    return one.pk
