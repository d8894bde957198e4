"""SQLite: one file, and one writer at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

from django.db import Error

from .base import Batch, Database, Expired

# Of ``cache_size``: negative numbers are kilobytes.
_DEFAULT_CACHE = -2_000
_MORE_CACHE = -12_000


class SQLite(Database):
    NOW = "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"
    KEEP_THE_LATER_END = (
        "ON CONFLICT (key) DO UPDATE SET expires_at = MAX({table}.expires_at, EXCLUDED.expires_at)"
    )
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

    def delete_batch(self, expired: Expired) -> Batch:
        """Rows are gone for good at once: the index begins with what is left."""
        table, _, condition, values = expired
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {table} WHERE rowid IN"  # noqa: S608
                f" (SELECT rowid FROM {table} WHERE {condition} ORDER BY expires_at LIMIT %s)",
                values,
            )
            return Batch(cursor.rowcount, cursor.rowcount == values[-1])

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
