"""What MariaDB and MySQL have in common, with InnoDB."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

from django.db import Error
from django.db.backends.utils import CursorWrapper
from django.db.transaction import TransactionManagementError

from .base import LOCK_SECONDS, Database, by_index
from .errors import error_code
from .orders import COUNTED, Expired, Order, Part, Sizes

_LOCK_WAIT_TIMEOUT = 1205  # ER_LOCK_WAIT_TIMEOUT: a lock of a row or of a table

_LOCK_WAITS = ("lock_wait_timeout", "innodb_lock_wait_timeout")  # of tables, of rows

# ER_STATEMENT_TIMEOUT of MariaDB, ER_QUERY_TIMEOUT of MySQL
_OUT_OF_TIME = (1969, 3024)

# ER_ERROR_DURING_COMMIT (Galera's wsrep_max_ws_rows and wsrep_max_ws_size),
# ER_RUN_HOOK_ERROR (group_replication_transaction_size_limit), ER_NET_PACKET_TOO_LARGE,
# ER_TRANS_CACHE_FULL, ER_LOCK_TABLE_FULL, ER_OUT_OF_RESOURCES
_TOO_LARGE = (1180, 3100, 1153, 1197, 1206, 1041)

_LOST_RACES = {
    1020,  # ER_CHECKREAD: a row has changed since the snapshot (innodb_snapshot_isolation)
    1213,  # ER_LOCK_DEADLOCK: a deadlock, or another node of Galera was faster
    3101,  # ER_TRANSACTION_ROLLBACK_DURING_COMMIT: another member of Group Replication was faster
}

# Whether the servers that this process talks to are nodes of Galera, by where they are. A server
# does not become one while it runs.
_are_nodes: dict[tuple[str, ...], bool] = {}

# Bits of wsrep_sync_wait.
_BEFORE_READS = 1


class InnoDB(Database):
    PHYSICAL_FROM = 0.03
    NOW = STORED_NOW = "UTC_TIMESTAMP(6)"  # NOW() follows the session's time zone
    BEGIN_READING: ClassVar[tuple[str, ...]] = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "BEGIN",
    )
    STRANGERS = ("TiDB",)
    # The index can't serve the LIKE BINARY that Django writes.
    FINDS_PREFIXES_BY_RANGE = True

    @contextmanager
    def _limited(self, seconds: float | None) -> Iterator[None]:
        """Set variables of the session, and set them back from where the session keeps them.

        One that breaks meanwhile takes them along.
        """
        limits: dict[str, object] = dict.fromkeys(_LOCK_WAITS, self.lock_wait())
        if seconds is not None:
            limits |= self.time_limit(seconds)
        kept = ", ".join(f"@tokens_{name} = @@SESSION.{name}" for name in limits)
        ours = ", ".join(f"SESSION {name} = {limit}" for name, limit in limits.items())
        theirs = ", ".join(f"SESSION {name} = @tokens_{name}" for name in limits)
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET {kept}, {ours}")
        try:
            yield
        finally:
            with suppress(Error), self.connection.cursor() as cursor:
                cursor.execute(f"SET {theirs}")

    def lock_wait(self) -> str:
        """Return how many seconds to wait for a lock, in SQL. There are whole seconds only."""
        return str(math.ceil(LOCK_SECONDS))

    @abstractmethod
    def time_limit(self, seconds: float) -> dict[str, object]:
        """Return the variable, and its value, that lets no question take longer."""

    def ran_into_lock(self, error: BaseException) -> bool:
        return error_code(error) == _LOCK_WAIT_TIMEOUT

    def ran_out_of_time(self, error: BaseException) -> bool:
        return error_code(error) in _OUT_OF_TIME

    def was_too_large(self, error: BaseException) -> bool:
        return error_code(error) in _TOO_LARGE

    def sizes(self, expired: Expired) -> Sizes:
        """Above READ COMMITTED, locks stay on all rows that a statement looks at, live ones too."""
        if getattr(self.connection, "isolation_level", None) != "read committed":
            return Sizes()
        table, key, end, *_ = expired
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT COUNT(*) FROM"  # noqa: S608
                f" (SELECT 1 FROM {table} WHERE expires_at < %s LIMIT {COUNTED}) AS due),"
                " (SELECT table_rows FROM information_schema.tables"
                f" WHERE table_schema = DATABASE() AND table_name = %s), MAX({key}) FROM {table}",
                [end, table.strip("`")],
            )
            return Sizes(*cursor.fetchone())

    @staticmethod
    def lost_race(error: BaseException, *, at_once: bool) -> bool:
        if isinstance(error, TransactionManagementError):
            # A savepoint was gone: the transaction had been rolled back beneath it.
            return True
        code = error_code(error)
        return code in _LOST_RACES or (at_once and code == _LOCK_WAIT_TIMEOUT)

    def has_other_writers(self) -> bool:
        """Galera's nodes replicate no row locks, and certify only what was written."""
        settings = self.connection.settings_dict
        server = tuple(str(settings.get(name)) for name in ("HOST", "PORT", "USER", "NAME"))
        if server not in _are_nodes:
            _are_nodes[server] = self._asked("SHOW VARIABLES LIKE 'wsrep_on'") == "ON"
        return _are_nodes[server]

    def catch_up(self) -> bool:
        """A node of Galera applies what others have committed a moment later, or seconds."""
        if not self.answers_late():
            return False
        before = self._sync_wait()
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET SESSION wsrep_sync_wait = {before | _BEFORE_READS}")
            try:
                cursor.execute("SELECT 1")
            finally:
                cursor.execute(f"SET SESSION wsrep_sync_wait = {before}")
        return True

    def answers_late(self) -> bool:
        return self.has_other_writers() and not self._sync_wait() & _BEFORE_READS

    def has_unordered_writers(self) -> bool:
        """Members of Group Replication commit before they have what was certified earlier."""
        mode = self._asked("SHOW VARIABLES LIKE 'group_replication_single_primary_mode'")
        return mode == "OFF"

    def _sync_wait(self) -> int:
        return int(self._asked("SHOW VARIABLES LIKE 'wsrep_sync_wait'") or 0)

    def _asked(self, question: str) -> str:
        """Return the value of a variable, empty if the server has none of this name.

        Not by the cursor that Django logs: what a process asks once is no part of a request.
        """
        with self.connection.cursor() as cursor, self.connection.wrap_database_errors:
            cursor.cursor.execute(question, None)
            row = cursor.cursor.fetchone()
        return str(row[1]) if row else ""


def next_part(cursor: CursorWrapper, expired: Expired) -> Part:
    """Return the part from the start on. In physical order, that is a range of primary keys.

    Look first where the next batch goes on: InnoDB walks over deleted rows until it purges. The
    expression keeps the index on ``expires_at`` out of it, which a DELETE can't be told otherwise.
    """
    table, key, end, limit, start = expired
    if start.order is Order.INDEX:
        return by_index(cursor, expired)
    condition, values = f"{key} <= %s", [start.last]
    if start.at is not None:
        condition, values = f"{condition} AND {key} >= %s", [*values, start.at]
    cursor.execute(
        f"SELECT {key} FROM {table} FORCE INDEX (PRIMARY) WHERE {condition}"  # noqa: S608
        f" ORDER BY {key} LIMIT 1 OFFSET %s",
        [*values, limit * start.stretch],
    )
    stop = row[0] if (row := cursor.fetchone()) else None
    if stop is not None:
        condition, values = f"{condition} AND {key} < %s", [*values, stop]
    condition = f"{condition} AND expires_at + INTERVAL 0 SECOND < %s"
    return Part(condition, [*values, end], key, stop, stop)
