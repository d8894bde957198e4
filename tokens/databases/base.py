"""What each database does in its own way."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

from django.conf import settings
from django.db import NotSupportedError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

# Milliseconds until a question about others reaches the database.
ON_THE_WAY = 10

# Of a statement with many rows; more make it no faster.
_MOST_PARAMETERS = 8_000


class UnsupportedDatabase(NotSupportedError):
    """The app has no SQL for this database. The message names it, and those that are supported."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        engine = connection.settings_dict["ENGINE"]
        super().__init__(
            f"The database {connection.alias!r} ({connection.vendor}, by {engine}) is not"
            " supported. Supported are SQLite, PostgreSQL, MariaDB and MySQL."
        )


class Batch(NamedTuple):
    """How many rows a batch removed, whether more may be left, and where the next one starts.

    ``reached`` is the ``expires_at`` up to which all rows are gone, or None if that is unknown.
    """

    removed: int
    more: bool
    reached: object = None


class Expired(NamedTuple):
    """What a batch deletes: quoted names and a condition. ``values`` ends with the limit."""

    table: str
    key: str
    condition: str
    values: list[Any]


class Database(ABC):
    """One kind of database, asked through one connection.

    It knows tables and columns by their names, and none of our models.
    """

    # A query for the present moment in UTC, as a datetime or in ISO format.
    NOW: ClassVar[str]

    # The end of an INSERT that only extends existing rows; ``{table}`` is their table.
    KEEP_THE_LATER_END: ClassVar[str]

    # After these, all statements up to the next ROLLBACK see the same state.
    BEGIN_READING: ClassVar[tuple[str, ...]]

    # Whether a SELECT that is not read to its end keeps its connection at the state of its
    # beginning, also outside a transaction.
    SELECT_KEEPS_ITS_STATE: ClassVar[bool] = False

    # Whether an index finds the texts that begin with a prefix as a range, and not by LIKE.
    FINDS_PREFIXES_BY_RANGE: ClassVar[bool]

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def now(self) -> datetime:
        """Return the present moment by the database's clock, in UTC and aware. One statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(self.NOW)
            value = cursor.fetchone()[0]
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC)

    def insert_selected(
        self, table: str, columns: Sequence[str], select: str, parameters: Sequence[Any]
    ) -> bool:
        """Insert the rows that ``select`` finds; extend existing ones. One statement.

        If a row with the same ``key`` exists, it gets the later ``expires_at`` and keeps all else.
        Returns whether anything was written.

        ``select`` must read another table, and needs a WHERE clause: without one, SQLite reads ON
        CONFLICT as the condition of a join.
        """
        conflict = self.KEEP_THE_LATER_END.format(table=self.connection.ops.quote_name(table))
        return self._insert(table, columns, f"{select} {conflict}", parameters)

    def insert_rows(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert these rows, whose values are as the database takes them; extend existing ones.

        As ``insert_selected`` extends them. No two rows may have the same ``key``.
        """
        conflict = self.KEEP_THE_LATER_END.format(table=self.connection.ops.quote_name(table))
        size = min(self.max_parameters(), _MOST_PARAMETERS) // len(columns)
        row = f"({', '.join(['%s'] * len(columns))})"
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            values = f"VALUES {', '.join([row] * len(part))} {conflict}"
            self._insert(table, columns, values, [value for one in part for value in one])

    def insert_from_locked(
        self, table: str, columns: Sequence[str], select: str, parameters: Sequence[Any]
    ) -> bool:
        """Insert the row that ``select`` finds once no other transaction is changing it.

        One statement. Returns whether anything was written.
        """
        features = self.connection.features
        if features.has_select_for_update:
            lock = self.connection.ops.for_update_sql(no_key=features.has_select_for_no_key_update)
            select = f"{select} {lock}"
        return self._insert(table, columns, select, parameters)

    def _insert(
        self, table: str, columns: Sequence[str], source: str, parameters: Sequence[Any]
    ) -> bool:
        name = self.connection.ops.quote_name
        names = ", ".join(map(name, columns))
        with self.connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {name(table)} ({names}) {source}", parameters)
            return bool(cursor.rowcount > 0)

    def max_parameters(self) -> int:
        """Return how many values a statement may have at most. May connect."""
        return 65_535  # a number of 16 bits in the protocols of servers

    def begin_writing(self, table: str) -> bool:
        """Let nobody else write until the transaction ends, if single rows can't be locked.

        Returns whether it did. ``table`` is any table; it is not changed.
        """
        return False

    @abstractmethod
    def delete_batch(self, expired: Expired) -> Batch:
        """Delete the matching rows with the oldest ``expires_at``, up to the limit.

        Never wait for a lock while holding others: live traffic would wait too, or deadlock.
        Locked rows stay.
        """

    @contextmanager
    def memory_for_batches(self) -> Iterator[None]:
        """Let this connection have the memory that a series of batches needs."""
        yield

    @abstractmethod
    def others_at_work(self, seconds: float, seen: object) -> tuple[bool, object]:
        """Return whether others used the database within the last ``seconds``, in one statement.

        Pass the second value as ``seen`` the next time, and None at first. If the database does
        not say, the answer is yes.
        """

    def is_in_memory(self) -> bool:
        """Return whether the database lives in this process, where a second connection is blind."""
        return False

    def keeps_local_time(self) -> bool:
        """Return whether moments are stored in, or read as, a local time that may repeat or skip.

        Django converts aware moments to the connection's time zone, and stores naive ones as they
        are, which we make in UTC.
        """
        return bool(settings.USE_TZ) and self.connection.timezone_name != "UTC"

    def locks_late(self) -> bool:
        """Return whether a transaction that reads first may fail to write instead of waiting."""
        return False


def following(cursor: CursorWrapper, expired: Expired) -> Any:
    """Return the ``expires_at`` of the first row beyond this batch, None if there is none."""
    table, _, condition, values = expired
    cursor.execute(
        f"SELECT expires_at FROM {table} WHERE {condition}"  # noqa: S608
        " ORDER BY expires_at LIMIT 1 OFFSET %s",
        values,
    )
    row = cursor.fetchone()
    return row[0] if row else None
