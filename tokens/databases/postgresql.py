"""PostgreSQL."""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.backends.utils import CursorWrapper

from .base import LOCK_SECONDS, Database, by_index
from .errors import error_code
from .local_time import Taken
from .orders import COUNTED, Batch, Expired, Order, Part, Sizes

_LOCK_NOT_AVAILABLE = "55P03"
_QUERY_CANCELED = "57014"  # by statement_timeout
# Out of memory; a limit of the configuration, such as temp_file_limit.
_TOO_LARGE = ("53200", "53400")
_PROGRAM_LIMIT_EXCEEDED = "54"  # a class of errors
# A tenth of a second is shorter than a limit on statements, which would end the wait as a failure.
_SHORTER_WAITS = "SET LOCAL lock_timeout = 100"
_SHORT_WAITS = f"SET LOCAL lock_timeout = {round(LOCK_SECONDS * 1_000)}"

# A condition on the addresses of rows reads those blocks only.
_TID_RANGE_SCANS = 140_000

# No other plan: the planner may think that the index has few expired rows, and read them all for
# each batch. Nor one that begins somewhere else, or at several places at once.
_BY_PLACE_ONLY = (
    "SELECT set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'off', true),"
    " set_config('enable_bitmapscan', 'off', true),"
    " set_config('max_parallel_workers_per_gather', '0', true)"
)

# If the table was never analyzed, and if it was when most of it was empty.
_ROWS_IN_A_BLOCK = 40.0
_FEWEST_ROWS = 10.0

_LOST_RACES = {"40001", "40P01"}  # serialization failure, deadlock


class PostgreSQL(Database):
    PHYSICAL_FROM = 0.03
    NOW = "statement_timestamp() AT TIME ZONE 'UTC'"
    STORED_NOW = "statement_timestamp()"
    KEEP_THE_LATER_END = (
        "ON CONFLICT (key) DO UPDATE SET"
        " expires_at = GREATEST({table}.expires_at, EXCLUDED.expires_at)"
    )
    # A lock on the table is not waited for: it may be the caller's own.
    BEGIN_READING: ClassVar[tuple[str, ...]] = (
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SET LOCAL lock_timeout = '1s'",
    )
    STRANGERS = ("CockroachDB", "-YB-", "Redshift")
    # Django makes an index for LIKE, while the collations don't sort by prefix.
    FINDS_PREFIXES_BY_RANGE = False

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
        """Send all rows as one parameter: psycopg takes longer over thousands than the server.

        One statement, which writes nothing for a row that is there and lasts as long.
        """
        name = self.connection.ops.quote_name
        into, names = name(table), ", ".join(map(name, columns))
        data = json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str)
        with self.connection.cursor() as cursor:
            cursor.execute(
                "WITH given AS MATERIALIZED (SELECT new.*, old.expires_at AS until"  # noqa: S608
                f" FROM json_populate_recordset(NULL::{into}, %s) new"
                f" LEFT JOIN {into} old USING (key)),"
                f" written AS (INSERT INTO {into} ({names}) SELECT {names} FROM given"
                " WHERE until IS NULL OR until < expires_at"
                f" {self.KEEP_THE_LATER_END.format(table=into)})"
                " SELECT count(until) FROM given",
                [data],
            )
            return int(cursor.fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is set LOCAL ends with the transaction, also behind a pooler."""
        with (
            transaction.atomic(self.connection.alias, durable=True),
            self.connection.cursor() as cursor,
        ):
            cursor.execute(_SHORTER_WAITS)
            yield

    @contextmanager
    def _limited(self, seconds: float | None) -> Iterator[None]:
        """Undo what the block did: that alone takes the limits back within a transaction."""
        with transaction.atomic(self.connection.alias), self.connection.cursor() as cursor:
            cursor.execute(_SHORT_WAITS)
            if seconds is not None:
                cursor.execute(f"SET LOCAL statement_timeout = {max(1, round(seconds * 1_000))}")
            yield
            transaction.set_rollback(True, using=self.connection.alias)

    def ran_into_lock(self, error: BaseException) -> bool:
        return error_code(error) == _LOCK_NOT_AVAILABLE

    def ran_out_of_time(self, error: BaseException) -> bool:
        return error_code(error) == _QUERY_CANCELED

    def was_too_large(self, error: BaseException) -> bool:
        state = str(error_code(error))
        return state in _TOO_LARGE or state.startswith(_PROGRAM_LIMIT_EXCEEDED)

    def sizes(self, expired: Expired) -> Sizes:
        """A range of blocks is found as one from PostgreSQL 14 on, and within one heap."""
        connection: Any = self.connection
        if connection.pg_version < _TID_RANGE_SCANS:
            return Sizes()
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT count(*) FROM (SELECT 1"  # noqa: S608
                f" FROM {expired.table} WHERE expires_at < %s LIMIT {COUNTED}) AS due),"
                " pg_relation_size(oid) / current_setting('block_size')::int,"
                " CASE WHEN relpages > 0 AND reltuples > 0 THEN reltuples / relpages END"
                " FROM pg_class WHERE oid = %s::regclass AND relkind = 'r' AND NOT relhassubclass",
                [expired.end, expired.table],
            )
            found = cursor.fetchone()
        if found is None:
            return Sizes()
        due, blocks, rows_in_a_block = found
        last = _Blocks(blocks, max(rows_in_a_block or _ROWS_IN_A_BLOCK, _FEWEST_ROWS))
        return Sizes(due, last.number * last.rows_in_one, last)

    def delete_batch(self, expired: Expired) -> Batch:
        """Delete the rows between two moments, or two places, which is faster than by address.

        Delete by address if a row is locked, or if so many rows share a moment that there is no
        second one.
        """
        start = expired.start
        with self.connection.cursor() as cursor:
            part = _PARTS[start.order](cursor, expired)
            condition, values = part.condition, part.values
            if part.stop is not None:
                condition, values = f"{condition} AND {part.rank} < %s", [*values, part.stop]
            try:
                with transaction.atomic(self.connection.alias):
                    cursor.execute("SET LOCAL lock_timeout = 1")  # a millisecond
                    cursor.execute(f"DELETE FROM {expired.table} WHERE {condition}", values)  # noqa: S608
                    removed = cursor.rowcount
            except OperationalError as error:
                if not self.ran_into_lock(error):
                    raise
                removed = 0
            else:
                if removed or part.stop is None or start.order is Order.PHYSICAL:
                    return expired.looked(removed, part.stop)
            return _delete_by_address(cursor, expired, part)

    def others_at_work(self, seconds: float, seen: object) -> tuple[bool, object]:
        """Ask who is connected. Those whose activity is not shown count as busy.

        It is not shown to a role without the right to see it, nor with ``track_activities = off``.
        """
        ours = seen if isinstance(seen, _Ours) else _Ours(self._process_by_the_protocol())
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_backend_pid(), extract(epoch FROM clock_timestamp())::float8,"
                " EXISTS(SELECT 1 FROM pg_stat_activity AS other"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND coalesce(backend_type, 'client backend') = 'client backend'"
                " AND (coalesce(left(state, 4), '') <> 'idle' OR state_change > to_timestamp(%s))"
                " AND NOT EXISTS(SELECT 1 FROM unnest(%s::int[], %s::float8[]) AS ours(pid, ended)"
                " WHERE ours.pid = other.pid AND left(state, 4) = 'idle'"
                " AND extract(epoch FROM state_change) <= ours.ended))",
                [ours.asked, [*ours.ended, ours.process], [*ours.ended.values(), math.inf]],
            )
            process, now, busy = cursor.fetchone()
        ours.are_spread = ours.are_spread or process != ours.process
        ours.goes_on_in(process, now)
        ours.asked = now
        return bool(busy), ours

    def note_our_own(self, seen: object) -> None:
        """Note which process works for us, and that the one before has ended by now."""
        if not isinstance(seen, _Ours) or not seen.are_spread:
            return
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), extract(epoch FROM clock_timestamp())::float8")
            process, now = cursor.fetchone()
        seen.goes_on_in(process, now)

    def _process_by_the_protocol(self) -> int:
        """Return the number of the server's process that connecting told; poolers make one up."""
        info: Any = getattr(self.connection.connection, "info", None)
        return int(getattr(info, "backend_pid", 0))

    def most_connections(self) -> int | None:
        """As psycopg_pool has it: without a maximum, the pool has its least number."""
        pool = self.connection.settings_dict.get("OPTIONS", {}).get("pool")
        if not pool:
            return None
        sizes = pool if isinstance(pool, dict) else {}
        return int(sizes.get("max_size") or sizes.get("min_size", 4))

    def visible(self, tables: Collection[str]) -> set[str]:
        """Ask by name: packages for tenants list the tables of the tenant's own schema only."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT name FROM unnest(%s::text[]) name"
                " WHERE to_regclass(quote_ident(name)) IS NOT NULL",
                [list(tables)],
            )
            return {name for (name,) in cursor.fetchall()}

    def local_time(self) -> Taken | None:
        """Columns hold moments, not clock times; naive values are taken for local ones."""
        name = self.connection.timezone_name
        return Taken(ZoneInfo(name)) if not settings.USE_TZ and name != "UTC" else None

    def is_standby(self) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            return bool(cursor.fetchone()[0])

    @staticmethod
    def lost_race(error: BaseException, *, at_once: bool) -> bool:
        return error_code(error) in _LOST_RACES


@dataclass(slots=True)
class _Ours:
    """The server's processes that have worked for this run; a pooler takes another each time.

    ``process`` is the newest of them. ``ended`` says of the others when they had finished: what
    they did later, they did for somebody else. ``asked`` is when others were asked for last. Both
    are in seconds since 1970, by the server's clock.
    """

    process: int
    asked: float = math.inf
    are_spread: bool = False
    ended: dict[int, float] = field(default_factory=dict)

    def goes_on_in(self, process: int, now: float) -> None:
        self.ended[self.process] = now
        self.process = process


class _Blocks(NamedTuple):
    """How many blocks a table had when the run began, and about how many rows are in one."""

    number: int
    rows_in_one: float


def _by_place(cursor: CursorWrapper, expired: Expired) -> Part:
    """Return the part from an address on: so many blocks that they have about as many rows.

    If it has to be exact, or may be many more, up to the first expired row beyond the limit.
    """
    table, _, end, limit, start = expired
    blocks: _Blocks = start.last
    at = start.at or "(0,0)"
    beyond = int(at[1:].split(",")[0]) + math.ceil(limit * start.stretch / blocks.rows_in_one)
    last = f"({min(beyond, blocks.number)},0)"
    condition, values = "expires_at < %s AND ctid >= %s AND ctid < %s", [end, at, last]
    cursor.execute(_BY_PLACE_ONLY)
    rest, stop = last if beyond < blocks.number else None, None
    if start.exact or start.stretch > 1:
        cursor.execute(
            f"SELECT ctid FROM {table} WHERE {condition} LIMIT 1 OFFSET %s",  # noqa: S608
            [*values, limit],
        )
        stop = row[0] if (row := cursor.fetchone()) else None
    return Part(condition, values, "ctid", stop or rest, rest)


_PARTS = {Order.INDEX: by_index, Order.PHYSICAL: _by_place}


def _delete_by_address(cursor: CursorWrapper, expired: Expired, part: Part) -> Batch:
    """Skip locked rows.

    ``IN (SELECT … LIMIT n)`` would scan the whole table; the array is computed once, and its rows
    are fetched by address. One that was updated at that very moment has another address by then
    and stays, for the next run: hence the two numbers.
    """
    table, rank = expired.table, part.rank
    cursor.execute(
        f"WITH due AS MATERIALIZED (SELECT ctid, {rank} AS rank FROM {table}"  # noqa: S608
        f" WHERE {part.condition} ORDER BY {rank} LIMIT %s FOR UPDATE SKIP LOCKED),"
        f" gone AS (DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM due)) RETURNING 1)"
        " SELECT (SELECT count(*) FROM gone), count(*), max(rank) FROM due",
        [*part.values, expired.limit],
    )
    removed, found, reached = cursor.fetchone()
    return expired.done(removed, reached if found == expired.limit else part.rest)
