"""SQLite: one file, and one writer at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from time import monotonic
from typing import ClassVar

from django.db import Error
from django.db.backends.utils import CursorWrapper

from .base import LOCK_SECONDS, Database
from .orders import COUNTED, FEW, Batch, Expired, Order, Part, Sizes

# The transaction has read, and another one has written since. The text is the same as that of a
# transaction that has waited for ``timeout``.
_LOST_RACE = "SQLITE_BUSY_SNAPSHOT"
_LOCKED = "database is locked"

# Of ``cache_size``: negative numbers are kilobytes.
_DEFAULT_CACHE = -2_000
_MORE_CACHE = -12_000


_TOO_LARGE = (sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_TOOBIG)

# Of SQLite's virtual machine, between two looks at the clock.
_INSTRUCTIONS = 10_000


class SQLite(Database):
    PHYSICAL_FROM = 0.01
    # With as many digits as Django writes, because SQLite compares texts.
    NOW = STORED_NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    KEEP_THE_LATER_END = (
        "ON CONFLICT (key) DO UPDATE SET expires_at = MAX({table}.expires_at, EXCLUDED.expires_at)"
    )
    VERSION = "SELECT sqlite_version()"
    BEGIN_READING: ClassVar[tuple[str, ...]] = ("BEGIN",)
    SELECT_KEEPS_ITS_STATE = True
    # The index can't serve the LIKE … ESCAPE that Django writes.
    FINDS_PREFIXES_BY_RANGE = True

    def max_parameters(self) -> int:
        """Django assumes 999; SQLite has allowed for 32,766 since 3.32, unless built otherwise."""
        self.connection.ensure_connection()
        limit: int = self.connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        return limit

    def begin_writing(self, table: str) -> bool:
        """A statement that could write takes the write lock, even if it finds no row."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {self.connection.ops.quote_name(table)} WHERE 0")  # noqa: S608
        return True

    @contextmanager
    def _limited(self, seconds: float | None) -> Iterator[None]:
        """Set how long the connection waits; questions also have an end together."""
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout")
            before = cursor.fetchone()[0]
            cursor.execute(f"PRAGMA busy_timeout = {min(before, round(LOCK_SECONDS * 1_000))}")
        try:
            with nullcontext() if seconds is None else self._interrupted_after(seconds):
                yield
        finally:
            with suppress(Error), self.connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {before}")

    @contextmanager
    def _interrupted_after(self, seconds: float) -> Iterator[None]:
        until = monotonic() + seconds
        raw: sqlite3.Connection = self.connection.connection
        raw.set_progress_handler(lambda: monotonic() > until, _INSTRUCTIONS)
        try:
            yield
        finally:
            raw.set_progress_handler(None, 0)

    def ran_into_lock(self, error: BaseException) -> bool:
        return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def ran_out_of_time(self, error: BaseException) -> bool:
        return _code(error) == sqlite3.SQLITE_INTERRUPT

    def was_too_large(self, error: BaseException) -> bool:
        return _code(error) in _TOO_LARGE or "too many" in str(error)

    def sizes(self, expired: Expired) -> Sizes:
        """Count the others as well: there are no statistics, and numbers of rows have gaps."""
        table, end = expired.table, expired.end
        with self.connection.cursor() as cursor:
            cursor.execute(
                "WITH due(number) AS (SELECT count(*) FROM"  # noqa: S608
                f" (SELECT 1 FROM {table} WHERE expires_at < %s LIMIT {COUNTED}))"
                " SELECT number, number + (SELECT count(*) FROM"
                f" (SELECT 1 FROM {table} WHERE expires_at >= %s LIMIT"
                f" (SELECT CASE WHEN number < {FEW} THEN 0 ELSE CAST(number / %s AS INTEGER) END"
                " FROM due))),"
                f" (SELECT max(rowid) FROM {table}) FROM due",
                [end, end, self.PHYSICAL_FROM],
            )
            return Sizes(*cursor.fetchone())

    def delete_batch(self, expired: Expired) -> Batch:
        """In the order of the index, rows are gone for good: it begins with what is left."""
        table, _, end, limit, start = expired
        physical = start.order is Order.PHYSICAL
        with self.connection.cursor() as cursor:
            part = Part("expires_at < %s", [end], "expires_at", None)
            if physical:
                part = _by_rowid(cursor, expired)
            condition, values = part.condition, part.values
            if not physical or start.stretch > 1:  # else it has no more rows than the limit
                condition = (
                    f"rowid IN (SELECT rowid FROM {table} WHERE {condition}"  # noqa: S608
                    f" ORDER BY {part.rank} LIMIT %s)"
                )
                values = [*values, limit]
            cursor.execute(f"DELETE FROM {table} WHERE {condition}", values)  # noqa: S608
            removed = cursor.rowcount
        return expired.limited(removed, part.stop) if physical else Batch(removed, removed == limit)

    @contextmanager
    def memory_for_batches(self) -> Iterator[None]:
        """Keep the pages in memory that batches come back to, unless told how many.

        SQLite has 2 MB otherwise, and reads most of them anew for each batch.
        """
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA cache_size")
            before = cursor.fetchone()[0]
            if before == _DEFAULT_CACHE:
                cursor.execute(f"PRAGMA cache_size = {_MORE_CACHE}")
        try:
            yield
        finally:
            # A file that can't be read by now is of no use to anybody.
            with suppress(Error), self.connection.cursor() as cursor:
                cursor.execute(f"PRAGMA cache_size = {before}")

    def others_at_work(self, seconds: float, seen: object) -> tuple[bool, object]:
        """Compare a number that changes when another connection has written."""
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA data_version")
            version = cursor.fetchone()[0]
        return version != seen, version

    def is_in_memory(self) -> bool:
        return bool(self.connection.is_in_memory_db())  # type: ignore[attr-defined]

    def locks_late(self) -> bool:
        """Only an immediate transaction takes the write lock when it begins."""
        options = self.connection.settings_dict.get("OPTIONS", {})
        return bool(options.get("transaction_mode") != "IMMEDIATE")

    @staticmethod
    def lost_race(error: BaseException, *, at_once: bool) -> bool:
        name = getattr(error.__cause__, "sqlite_errorname", None)
        return name == _LOST_RACE or (at_once and _LOCKED in str(error))


def _by_rowid(cursor: CursorWrapper, expired: Expired) -> Part:
    """Return the part from a number on, with so many numbers. Gaps beyond it are jumped over."""
    table, _, end, limit, start = expired
    at = start.at or 1
    beyond = at + limit * start.stretch
    cursor.execute(
        f"SELECT min(rowid) FROM {table} WHERE rowid >= %s AND rowid <= %s",  # noqa: S608
        [beyond, start.last],
    )
    [stop] = cursor.fetchone()
    # The plus keeps the index out of it.
    condition = "rowid >= %s AND rowid < %s AND rowid <= %s AND +expires_at < %s"
    return Part(condition, [at, beyond, start.last, end], "rowid", stop)


def _code(error: BaseException) -> int:
    """Return the primary code of SQLite's error, zero if it has none."""
    code: int = getattr(error.__cause__, "sqlite_errorcode", 0)
    return code & 0xFF
