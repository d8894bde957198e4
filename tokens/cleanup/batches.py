"""Delete one batch of what has expired, by the statement that ``databases`` has for it."""

from datetime import datetime
from typing import Any

from django.db import connections, models, transaction
from django.db.models.deletion import Collector

from .. import databases
from ..databases import Batch, Position
from ..querysets import ExpiringQuerySet, RunQuerySet


def first(rows: ExpiringQuerySet[Any], cutoff: datetime) -> Position:
    """Return where the first batch starts, and in which order they go. At most one statement.

    If rows have to be loaded, that is what takes the time, whatever the order.
    """
    if deletes_instances(rows):
        return Position()
    return databases.of(connections[rows.db]).first(_expired(rows, cutoff))


def delete(
    rows: ExpiringQuerySet[Any],
    cutoff: datetime,
    *,
    limit: int,
    reached: Position | None = None,
) -> Batch:
    """Delete at most ``limit`` of the ``rows`` that are of no use at ``cutoff``.

    ``reached`` is what ``first`` or the batch before returned: the database goes on from there, and
    not over the rows that it has deleted but not cleared away yet. By default the oldest go first.
    Locked rows stay for the next run. Raises TypeError for a selection, because these statements
    see whole tables only.
    """
    if rows.query.is_sliced or rows.query.where:
        raise TypeError("Batches are deleted from a whole table, not from a selection.")
    if deletes_instances(rows):
        return _delete_instances(rows, cutoff, limit)
    expired = _expired(rows, cutoff)._replace(limit=limit, start=reached or Position())
    return databases.of(connections[rows.db]).delete_batch(expired)


def _expired(rows: ExpiringQuerySet[Any], cutoff: datetime) -> databases.Expired:
    ops, meta = connections[rows.db].ops, rows.model._meta
    return databases.Expired(
        ops.quote_name(meta.db_table),
        ops.quote_name(meta.pk.column),
        ops.adapt_datetimefield_value(rows.end_before(cutoff)),
    )


def delete_runs(
    runs: RunQuerySet, cutoff: datetime, *, limit: int, reached: Position | None = None
) -> Batch:
    """Delete at most ``limit`` of the ``runs`` that began before ``cutoff``, oldest first.

    The newest success stays, however old: it says when the cleanup worked last.
    """
    old = runs.filter(slot=None, started_at__lt=cutoff).order_by("pk")
    if (newest := runs.last_success()) is not None:
        old = old.exclude(pk=newest.pk)
    last = old.values_list("pk", flat=True)[limit - 1 : limit].first()
    doomed = old if last is None else old.filter(pk__lte=last)
    _total, deleted = doomed.delete()
    return Batch(deleted.get(runs.model._meta.label, 0), last is not None)


def deletes_instances(rows: models.QuerySet[Any]) -> bool:
    """Return whether the ORM has to load ``rows`` to delete them, which is slow.

    It has to if a receiver listens to Django's delete signals, or another model has a foreign key
    to this one: being correct matters more than being fast.
    """
    return not Collector(using=rows.db).can_fast_delete(rows)


def _delete_instances(rows: ExpiringQuerySet[Any], cutoff: datetime, limit: int) -> Batch:
    """Delete as ``QuerySet.delete`` does, but with a limit and a lock.

    The lock keeps others from extending a row between reading and deleting it.
    """
    skip = connections[rows.db].features.has_select_for_update_skip_locked
    with transaction.atomic(rows.db, savepoint=False):
        expired = rows.expired(cutoff).order_by("expires_at")
        collector = Collector(using=rows.db, origin=rows)
        found = list(expired.select_for_update(skip_locked=skip)[:limit])
        collector.collect(found)
        collector.delete()
    return Batch(len(found), len(found) == limit)
