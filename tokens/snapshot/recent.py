"""Reading the recent entries, which the snapshot of cached checks is made of."""

import uuid
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from .. import clock, databases
from ..keys import fingerprint
from ..models import BlacklistEntry
from .keyset import KeySet
from .limits import LIMITS, Limits


@dataclass(frozen=True, slots=True)
class Part:
    """Entries that were made one after another.

    Those made at ``since`` or later are all in this part or in one that is newer.
    """

    keys: KeySet
    since: datetime


@dataclass(frozen=True, slots=True)
class RecentEntries:
    """All entries that were made since some moment: at least one part, the newest first.

    ``now`` is a moment of the database's clock. What had been committed by then is here.
    """

    parts: tuple[Part, ...]
    now: datetime

    @property
    def since(self) -> datetime:
        return self.parts[-1].since


def read(
    connection: BaseDatabaseWrapper, since: datetime, limits: Limits = LIMITS
) -> RecentEntries:
    """Return the entries made at ``since`` (aware) or later: the newest ``limits.entries`` of them.

    If there are more, ``since`` of the answer is later than asked for. Reads the newest first, in
    slices that begin at the moment of a row, so that rows of the same moment share a slice.
    """
    table = connection.ops.quote_name(BlacklistEntry._meta.db_table)
    key = connection.ops.quote_name("key")
    clock_of_database = databases.of(connection).NOW.replace("%", "%%")
    parts: list[Part] = []
    found, size, now = array("Q"), 0, None
    lowest = connection.ops.adapt_datetimefield_value(clock.stored(since))
    condition, values = "created_at >= %s", [lowest]
    with _one_state(connection) as cursor:
        while True:
            cursor.execute(
                f"SELECT {clock_of_database}, (SELECT created_at FROM {table}"  # noqa: S608
                f" WHERE {condition} ORDER BY created_at DESC LIMIT 1 OFFSET {limits.slice - 1})",
                values,
            )
            moment, first = cursor.fetchone()
            now = now or aware(moment)
            # The last value is where the slice ends, above which everything has been read.
            start = first or lowest
            cursor.execute(
                f"SELECT {key} FROM {table} WHERE {condition}",  # noqa: S608
                [start, *values[1:]],
            )
            while rows := cursor.fetchmany(limits.slice):
                found.extend(map(fingerprint_of(rows[0][0]), rows))
            is_last = first is None or size + len(found) >= limits.entries
            if is_last or len(found) > limits.part - limits.slice:
                parts.append(Part(KeySet(found), aware(start) if first else since))
                size, found = size + len(found), array("Q")
            if is_last:
                return RecentEntries(tuple(parts), now)
            condition, values = "created_at >= %s AND created_at < %s", [lowest, start]


@contextmanager
def _one_state(connection: BaseDatabaseWrapper) -> Iterator[CursorWrapper]:
    """Yield a cursor whose statements all see the state that the first of them saw.

    Otherwise an entry that gets a new moment meanwhile (``pending``) may be missed both in the
    slice that it leaves and in the one that it enters. The connection is in autocommit mode.
    """
    with connection.cursor() as cursor:
        try:
            for statement in databases.of(connection).BEGIN_READING:
                cursor.execute(statement)
            yield cursor
        finally:
            try:
                cursor.execute("ROLLBACK")
            except BaseException:
                connection.close()  # nothing may run in this transaction
                raise


def fingerprint_of(example: object) -> Callable[[Any], int]:
    """Return what makes a fingerprint of a row whose key, as ``example``, is a UUID or text."""
    if isinstance(example, uuid.UUID):
        return lambda row: fingerprint(row[0])
    return lambda row: int(row[0].replace("-", "")[16:], 16)


def aware(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def obstacle(connection: BaseDatabaseWrapper) -> str | None:
    """Return why this database can have no snapshot, or None if it can. Asks nothing."""
    if not databases.supports(connection):
        return str(databases.UnsupportedDatabase(connection))
    database = databases.of(connection)
    if database.is_in_memory():
        return "it is in memory, where no second connection can read"
    if database.serves_tenants():
        return "each tenant has a schema of its own there"
    # Moments kept in local time go back an hour each autumn, and a snapshot would miss entries.
    if database.local_time():
        return f"it keeps moments in local time ({connection.timezone_name})"
    return None


@contextmanager
def connection_to(using: str) -> Iterator[BaseDatabaseWrapper]:
    """Yield a connection in autocommit mode: on it a transaction sees all that is committed.

    In a transaction of the caller's that is a connection of its own, closed afterwards: the
    caller's may show an old state, and what nobody has committed yet. On SQLite it always is: a
    SELECT that the caller has not read to its end makes the next ones show the same old state.
    """
    connection = connections[using]
    in_transaction = connection.in_atomic_block or not connection.get_autocommit()
    if not in_transaction and not databases.of(connection).SELECT_KEEPS_ITS_STATE:
        yield connection
        return
    connection = connection.copy()
    try:
        yield connection
    finally:
        connection.close()
