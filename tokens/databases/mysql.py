"""MariaDB and MySQL, with InnoDB."""

from typing import ClassVar

from django.db import OperationalError
from django.db.backends.utils import CursorWrapper

from .base import ON_THE_WAY, Batch, Database, Expired, following

_LOCK_WAIT_TIMEOUT = 1205  # ER_LOCK_WAIT_TIMEOUT

_FEW = 500


class MySQL(Database):
    """Both: Django has one backend for them, which finds out which it is by connecting."""

    NOW = "SELECT UTC_TIMESTAMP(6)"  # NOW() follows the session's time zone
    KEEP_THE_LATER_END = (
        "ON DUPLICATE KEY UPDATE expires_at = GREATEST({table}.expires_at, VALUES(expires_at))"
    )
    BEGIN_READING: ClassVar[tuple[str, ...]] = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "BEGIN",
    )
    # The index can't serve the LIKE BINARY that Django writes.
    FINDS_PREFIXES_BY_RANGE = True

    def delete_batch(self, expired: Expired) -> Batch:
        """Look first where the next batch goes on: InnoDB walks over deleted rows until it purges.

        MariaDB reads the first comment and does not wait for locks; MySQL reads the second, and
        waits one second instead of fifty.
        """
        table, _, condition, values = expired
        with self.connection.cursor() as cursor:
            end = following(cursor, expired)
            try:
                cursor.execute(
                    "/*M! SET STATEMENT innodb_lock_wait_timeout = 0 FOR */"
                    " DELETE /*+ SET_VAR(innodb_lock_wait_timeout = 1) */"
                    f" FROM {table} WHERE {condition} ORDER BY expires_at LIMIT %s",
                    values,
                )
            except OperationalError as error:
                # MariaDB has it from 10.6 on.
                passes_by = self.connection.features.has_select_for_update_skip_locked
                if error.args[0] != _LOCK_WAIT_TIMEOUT or not passes_by:
                    raise
                return _delete_few_unlocked(cursor, expired)
            return Batch(cursor.rowcount, end is not None, end)

    def others_at_work(self, seconds: float, seen: object) -> tuple[bool, object]:
        """Ask who is connected. Without the privilege PROCESS only the same user's are seen."""
        milliseconds = round(seconds * 1_000) + ON_THE_WAY
        is_mariadb = self.connection.mysql_is_mariadb  # type: ignore[attr-defined]
        # MySQL has whole seconds only.
        recent = f"time_ms < {milliseconds}" if is_mariadb else "time < 1"
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS(SELECT 1 FROM information_schema.processlist WHERE db = DATABASE()"  # noqa: S608 (a number)
                f" AND id <> CONNECTION_ID() AND (command <> 'Sleep' OR {recent}))"
            )
            return bool(cursor.fetchone()[0]), None


def _delete_few_unlocked(cursor: CursorWrapper, expired: Expired) -> Batch:
    """Skip locked rows, with one statement for each row, until the batch is past them.

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
