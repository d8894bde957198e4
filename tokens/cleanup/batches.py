"""Delete one batch of what has expired: the statement that is fast and short on each database.

Nothing here waits for a lock while it holds others: live traffic would wait too, or deadlock.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple

from django.db import Error, OperationalError, connections, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models.deletion import Collector

from ..querysets import RunQuerySet

_LOCK_WAIT_TIMEOUT = 1205  # ER_LOCK_WAIT_TIMEOUT of MySQL and MariaDB
_LOCK_NOT_AVAILABLE = "55P03"  # of PostgreSQL
_FEW = 500

# Of SQLite's ``cache_size``: negative numbers are kilobytes.
_SQLITE_DEFAULT = -2_000
_SQLITE_MORE = -12_000


class Batch(NamedTuple):
    """How many rows went, whether more may be left, and where the next batch goes on.

    ``reached`` is the value of ``expires_at`` up to which all went, or None if that is not known.
    """

    removed: int
    more: bool
    reached: object = None


class _Expired(NamedTuple):
    """The names and the condition, ready for SQL; ``values`` are its parameters and the limit."""

    table: str
    key: str
    condition: str
    values: list[Any]


def delete(
    rows: models.QuerySet[Any], cutoff: datetime, *, limit: int, reached: object = None
) -> Batch:
    """Delete at most ``limit`` of the ``rows`` that ended before ``cutoff``, oldest first.

    ``reached`` is what the batch before returned. It spares the database walking once more over
    what it has deleted and not yet cleared away. Rows that somebody has locked stay, for the next
    run. Raises TypeError for a selection: these statements see whole tables only.
    """
    if rows.query.is_sliced or rows.query.where:
        raise TypeError("Batches are deleted from a whole table, not from a selection.")
    if deletes_instances(rows):
        return _delete_instances(rows, cutoff, limit)
    connection = connections[rows.db]
    meta = rows.model._meta
    condition = "expires_at < %s"
    values: list[Any] = [connection.ops.adapt_datetimefield_value(cutoff)]
    if reached is not None:
        condition, values = f"{condition} AND expires_at >= %s", [*values, reached]
    expired = _Expired(
        connection.ops.quote_name(meta.db_table),
        connection.ops.quote_name(meta.pk.column),
        condition,
        [*values, limit],
    )
    with connection.cursor() as cursor:
        return _DELETE[connection.vendor](cursor, expired)


def delete_runs(
    runs: RunQuerySet, cutoff: datetime, *, limit: int, reached: object = None
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


@contextmanager
def memory_for(using: str) -> Iterator[None]:
    """Let SQLite keep the pages in memory that batches come back to, unless told how many.

    It has 2 MB otherwise, and reads most of them anew for each batch. The servers have their own.
    """
    connection = connections[using]
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA cache_size")
        before = cursor.fetchone()[0]
        if before == _SQLITE_DEFAULT:
            cursor.execute(f"PRAGMA cache_size = {_SQLITE_MORE}")
    try:
        yield
    finally:
        # A file that can't be read by now is of no use to anybody.
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute(f"PRAGMA cache_size = {before}")


def deletes_instances(rows: models.QuerySet[Any]) -> bool:
    """Return whether ``rows`` have to be loaded and deleted by the ORM, which is slow.

    They have where somebody listens to Django's delete signals, another model points here, or
    the database is one that we do not know: being correct matters more than being fast.
    """
    known = connections[rows.db].vendor in _DELETE
    return not known or not Collector(using=rows.db).can_fast_delete(rows)


def _delete_instances(rows: models.QuerySet[Any], cutoff: datetime, limit: int) -> Batch:
    """Delete as ``QuerySet.delete`` does, which knows neither limits nor locks.

    Locked, because a row may be extended between being read and being deleted.
    """
    skip = connections[rows.db].features.has_select_for_update_skip_locked
    with transaction.atomic(rows.db, savepoint=False):
        expired = rows.filter(expires_at__lt=cutoff).order_by("expires_at")
        collector = Collector(using=rows.db, origin=rows)
        found = list(expired.select_for_update(skip_locked=skip)[:limit])
        collector.collect(found)
        collector.delete()
    return Batch(len(found), len(found) == limit)


def _on_postgresql(cursor: CursorWrapper, expired: _Expired) -> Batch:
    """Delete what lies between two moments, which is faster than by address.

    Unless a row is locked, or so many rows share a moment that there is nothing between.
    """
    following = _following(cursor, expired)
    table, _, condition, [*values, _limit] = expired
    if following is not None:
        condition, values = f"{condition} AND expires_at < %s", [*values, following]
    try:
        with transaction.atomic(cursor.db.alias):
            cursor.execute("SET LOCAL lock_timeout = 1")  # a millisecond
            cursor.execute(f"DELETE FROM {table} WHERE {condition}", values)  # noqa: S608
            removed = cursor.rowcount
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        return _by_address_on_postgresql(cursor, expired)
    if following is not None and not removed:
        return _by_address_on_postgresql(cursor, expired)
    return Batch(removed, following is not None, following)


def _by_address_on_postgresql(cursor: CursorWrapper, expired: _Expired) -> Batch:
    """Pass by the rows that somebody has locked.

    ``IN (SELECT … LIMIT n)`` would scan the whole table; the array is computed once, and its rows
    are fetched by address. One that was updated at that very moment has another address by then
    and stays, for the next run: hence the two numbers.
    """
    table, _, condition, values = expired
    cursor.execute(
        f"WITH due AS MATERIALIZED (SELECT ctid, expires_at FROM {table} WHERE {condition}"  # noqa: S608
        " ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED),"
        f" gone AS (DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM due)) RETURNING 1)"
        " SELECT (SELECT count(*) FROM gone), count(*), max(expires_at) FROM due",
        values,
    )
    removed, found, reached = cursor.fetchone()
    return Batch(removed, found == values[-1], reached)


def _following(cursor: CursorWrapper, expired: _Expired) -> Any:
    """Return the ``expires_at`` of the first row beyond this batch, None if there is none."""
    table, _, condition, values = expired
    cursor.execute(
        f"SELECT expires_at FROM {table} WHERE {condition}"  # noqa: S608
        " ORDER BY expires_at LIMIT 1 OFFSET %s",
        values,
    )
    row = cursor.fetchone()
    return row[0] if row else None


def _on_mysql(cursor: CursorWrapper, expired: _Expired) -> Batch:
    """InnoDB walks over deleted rows until it has purged them: hence the look at where to go on.

    MariaDB reads the first comment and does not wait for locks; MySQL reads the second, and
    waits one second instead of fifty.
    """
    table, _, condition, values = expired
    following = _following(cursor, expired)
    try:
        cursor.execute(
            "/*M! SET STATEMENT innodb_lock_wait_timeout = 0 FOR */"
            " DELETE /*+ SET_VAR(innodb_lock_wait_timeout = 1) */"
            f" FROM {table} WHERE {condition} ORDER BY expires_at LIMIT %s",
            values,
        )
    except OperationalError as error:
        passes_by = cursor.db.features.has_select_for_update_skip_locked  # MariaDB 10.6
        if error.args[0] != _LOCK_WAIT_TIMEOUT or not passes_by:
            raise
        return _few_unlocked_on_mysql(cursor, expired)
    return Batch(cursor.rowcount, following is not None, following)


def _few_unlocked_on_mysql(cursor: CursorWrapper, expired: _Expired) -> Batch:
    """Pass by the rows that somebody has locked, one statement a row, until they are behind.

    ``key IN (…)`` may scan the table, and then it locks, and waits for, every row of it.
    """
    table, key, condition, [*values, limit] = expired
    few = min(limit, _FEW)
    cursor.execute(
        f"SELECT {key}, expires_at FROM {table} WHERE {condition}"  # noqa: S608
        " ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED",
        [*values, few],
    )
    found = cursor.fetchall()
    cursor.executemany(
        f"DELETE FROM {table} WHERE {key} = %s",  # noqa: S608
        [[value] for value, _ in found],
    )
    return Batch(len(found), len(found) == few, found[-1][1] if found else None)


def _on_sqlite(cursor: CursorWrapper, expired: _Expired) -> Batch:
    """SQLite deletes for good at once: the index begins with what is left."""
    table, _, condition, values = expired
    cursor.execute(
        f"DELETE FROM {table} WHERE rowid IN"  # noqa: S608
        f" (SELECT rowid FROM {table} WHERE {condition} ORDER BY expires_at LIMIT %s)",
        values,
    )
    return Batch(cursor.rowcount, cursor.rowcount == values[-1])


_DELETE = {"mysql": _on_mysql, "postgresql": _on_postgresql, "sqlite": _on_sqlite}
