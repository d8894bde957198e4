"""What each database does in its own way."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from django.db import Error, transaction
from django.db.backends.utils import CursorWrapper

from .errors import OutOfTime
from .orders import Batch, Expired, Part, Position, Sizes, first
from .place import Place
from .servers import Servers

T = TypeVar("T")

# Milliseconds until a question about others reaches the database.
ON_THE_WAY = 10

# Seconds that a statement of ``transaction`` or ``asking`` waits for a lock. MariaDB and MySQL know
# whole seconds only, so there it is one.
LOCK_SECONDS = 0.5

# Of a statement with many rows; more make it no faster.
_MOST_PARAMETERS = 8_000


class Database(Place, Servers, ABC):
    """One kind of database, asked through one connection.

    It knows tables and columns by their names, and none of our models.
    """

    # The present moment in UTC, when the statement began: as a datetime or in ISO format, and as
    # columns keep it.
    NOW: ClassVar[str]
    STORED_NOW: ClassVar[str]

    # An INSERT that only extends existing rows: how it reads the rows that ``{select}`` finds, and
    # how it ends, after VALUES too. ``{table}`` and ``{columns}`` are what it inserts into.
    SELECTED: ClassVar[str] = "{select}"
    KEEP_THE_LATER_END: ClassVar[str]

    # After these, all statements up to the next ROLLBACK see the same state.
    BEGIN_READING: ClassVar[tuple[str, ...]]

    # Whether a SELECT that is not read to its end keeps its connection at the state of its
    # beginning, also outside a transaction.
    SELECT_KEEPS_ITS_STATE: ClassVar[bool] = False

    # The share of expired rows from which on physical order is faster. Measured: docs/design.md.
    PHYSICAL_FROM: ClassVar[float]

    # Whether an index finds the texts that begin with a prefix as a range, and not by LIKE.
    FINDS_PREFIXES_BY_RANGE: ClassVar[bool]

    def now(self) -> datetime:
        """Return the present moment by the database's clock, in UTC and aware. One statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {self.NOW}")
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
        selected = self.SELECTED.format(select=select)
        source = f"{selected} {self._keep_the_later_end(table, columns)}"
        return self._insert(table, columns, source, parameters)

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
        """Insert these rows, whose values are as the database takes them; extend existing ones.

        As ``insert_selected`` extends them. No two rows may have the same ``key``, which is the
        first column. Returns how many existed.
        """
        known = self.count_rows(table, [row[0] for row in rows])
        conflict = self._keep_the_later_end(table, columns)
        row = f"({', '.join(['%s'] * len(columns))})"
        for part in self._parts(rows, len(columns)):
            values = f"VALUES {', '.join([row] * len(part))} {conflict}"
            self._insert(table, columns, values, [value for one in part for value in one])
        return known

    def count_rows(self, table: str, keys: Sequence[Any]) -> int:
        """Return how many rows have one of these values, as the database takes them, as ``key``."""
        name, known = self.connection.ops.quote_name, 0
        with self.connection.cursor() as cursor:
            for part in self._parts(keys, 1):
                marks = ", ".join(["%s"] * len(part))
                cursor.execute(
                    f"SELECT COUNT(*) FROM {name(table)} WHERE {name('key')} IN ({marks})",  # noqa: S608
                    part,
                )
                known += cursor.fetchone()[0]
        return known

    def _parts(self, rows: Sequence[T], columns: int) -> Iterator[Sequence[T]]:
        """Yield the rows in parts that fit into one statement."""
        size = min(self.max_parameters(), _MOST_PARAMETERS) // columns
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

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
        into = f"{self.connection.ops.quote_name(table)} ({self._names(columns)})"
        with self.connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {into} {source}", parameters)
            return bool(cursor.rowcount > 0)

    def _keep_the_later_end(self, table: str, columns: Sequence[str]) -> str:
        return self.KEEP_THE_LATER_END.format(
            table=self.connection.ops.quote_name(table), columns=self._names(columns)
        )

    def _names(self, columns: Sequence[str]) -> str:
        return ", ".join(map(self.connection.ops.quote_name, columns))

    def max_parameters(self) -> int:
        """Return how many values a statement may have at most. May connect."""
        return 65_535  # a number of 16 bits in the protocols of servers

    def begin_writing(self, table: str) -> bool:
        """Let nobody else write until the transaction ends, if single rows can't be locked.

        Returns whether it did. ``table`` is any table; it is not changed.
        """
        return False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a transaction, the outermost, that waits for locks for a second at a time.

        Nothing of that stays behind on the connection, whose next transaction may be somebody
        else's.
        """
        with self._limited(None), transaction.atomic(self.connection.alias, durable=True):
            yield

    def reading(self) -> AbstractContextManager[None]:
        """Wait for locks as ``transaction`` does; for questions, what is written may be undone."""
        return self._limited(None)

    @contextmanager
    def asking(self, seconds: float) -> Iterator[None]:
        """Let no statement of the block take longer than ``seconds``, nor wait for a lock.

        Raises OutOfTime if one does. For questions only: what the block writes may be undone.
        """
        try:
            with self._limited(seconds):
                yield
        except Error as error:
            if self.ran_into_lock(error) or self.ran_out_of_time(error):
                raise OutOfTime(*error.args) from error
            raise

    @abstractmethod
    def _limited(self, seconds: float | None) -> AbstractContextManager[None]:
        """Limit the waits for locks to LOCK_SECONDS, and statements to ``seconds``."""

    @abstractmethod
    def ran_into_lock(self, error: BaseException) -> bool:
        """Return whether the statement gave up waiting for somebody else's lock."""

    @abstractmethod
    def ran_out_of_time(self, error: BaseException) -> bool:
        """Return whether a limit ended the statement, ours or the server's."""

    @abstractmethod
    def was_too_large(self, error: BaseException) -> bool:
        """Return whether the server refuses statements or transactions of this size."""

    def first(self, expired: Expired) -> Position:
        """Return where the first batch starts, and in which order they go. At most one statement.

        A question that may take a while, but far less than deleting what it counts.
        """
        return first(self.sizes(expired), self.PHYSICAL_FROM)

    @abstractmethod
    def sizes(self, expired: Expired) -> Sizes:
        """Return how many rows have expired, and how many there are. At most one statement."""

    @abstractmethod
    def delete_batch(self, expired: Expired) -> Batch:
        """Delete matching rows up to the limit, in the order of ``expired.start`` and from there.

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

    def note_our_own(self, seen: object) -> None:
        """Note that the transaction under way is ours: ``others_at_work`` passes it by.

        Only a pooler makes that necessary, which gives each transaction another connection of the
        server. ``seen`` is what ``others_at_work`` returned.
        """
        return

    def locks_late(self) -> bool:
        """Return whether a transaction that reads first may fail to write instead of waiting."""
        return False

    @staticmethod
    @abstractmethod
    def lost_race(error: BaseException, *, at_once: bool) -> bool:
        """Return whether ``error`` says that a transaction lost a race and was rolled back.

        The same transaction may succeed a moment later. If a lock can't be had, that counts only if
        the database said so ``at_once``: otherwise the client has waited long enough.
        """


def by_index(cursor: CursorWrapper, expired: Expired) -> Part:
    """Return the part with the oldest ``expires_at``, and that of the first row beyond the limit.

    Rows on both sides may share it.
    """
    condition, values = "expires_at < %s", [expired.end]
    if expired.start.at is not None:
        condition, values = f"{condition} AND expires_at >= %s", [*values, expired.start.at]
    cursor.execute(
        f"SELECT expires_at FROM {expired.table} WHERE {condition}"  # noqa: S608
        " ORDER BY expires_at LIMIT 1 OFFSET %s",
        [*values, expired.limit],
    )
    row = cursor.fetchone()
    return Part(condition, values, "expires_at", row[0] if row else None)
