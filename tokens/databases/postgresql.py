"""PostgreSQL."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.backends.utils import CursorWrapper

from .base import ON_THE_WAY, Batch, Database, Expired, following

_LOCK_NOT_AVAILABLE = "55P03"


class PostgreSQL(Database):
    NOW = "SELECT statement_timestamp() AT TIME ZONE 'UTC'"
    KEEP_THE_LATER_END = (
        "ON CONFLICT (key) DO UPDATE SET"
        " expires_at = GREATEST({table}.expires_at, EXCLUDED.expires_at)"
    )
    # A lock on the table is not waited for: it may be the caller's own.
    BEGIN_READING: ClassVar[tuple[str, ...]] = (
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SET LOCAL lock_timeout = '1s'",
    )
    # Django makes an index for LIKE, while the collations don't sort by prefix.
    FINDS_PREFIXES_BY_RANGE = False

    def insert_rows(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Send all rows as one parameter: psycopg takes longer over thousands than the server."""
        name = self.connection.ops.quote_name
        data = json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str)
        select = (
            f"SELECT {', '.join(map(name, columns))}"  # noqa: S608
            f" FROM json_populate_recordset(NULL::{name(table)}, %s)"
        )
        self.insert_selected(table, columns, select, [data])

    def delete_batch(self, expired: Expired) -> Batch:
        """Delete the rows between two moments, which is faster than by address.

        Delete by address if a row is locked, or if so many rows share a moment that there is no
        second one.
        """
        with self.connection.cursor() as cursor:
            end = following(cursor, expired)
            table, _, condition, [*values, _limit] = expired
            if end is not None:
                condition, values = f"{condition} AND expires_at < %s", [*values, end]
            try:
                with transaction.atomic(self.connection.alias):
                    cursor.execute("SET LOCAL lock_timeout = 1")  # a millisecond
                    cursor.execute(f"DELETE FROM {table} WHERE {condition}", values)  # noqa: S608
                    removed = cursor.rowcount
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
                return _delete_by_address(cursor, expired)
            if end is not None and not removed:
                return _delete_by_address(cursor, expired)
            return Batch(removed, end is not None, end)

    def others_at_work(self, seconds: float, seen: object) -> tuple[bool, object]:
        """Ask who is connected. If the role may not see what others do, they count as busy."""
        milliseconds = round(seconds * 1_000) + ON_THE_WAY
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS(SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"  # noqa: S608 (a number)
                " AND pid <> pg_backend_pid()"
                " AND coalesce(backend_type, 'client backend') = 'client backend'"
                " AND (state = 'active' OR state IS NULL"
                f" OR state_change > clock_timestamp() - interval '{milliseconds} ms'))"
            )
            return bool(cursor.fetchone()[0]), None

    def keeps_local_time(self) -> bool:
        """Columns hold moments, not clock times; naive values are read as local ones."""
        return not settings.USE_TZ and self.connection.timezone_name != "UTC"


def _delete_by_address(cursor: CursorWrapper, expired: Expired) -> Batch:
    """Skip locked rows.

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
