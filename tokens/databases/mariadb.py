"""MariaDB."""

from django.db import OperationalError
from django.db.backends.utils import CursorWrapper

from .base import ON_THE_WAY
from .innodb import InnoDB, next_part
from .orders import Batch, Expired, Part

_FEW = 500


class MariaDB(InnoDB):
    KEEP_THE_LATER_END = (
        "ON DUPLICATE KEY UPDATE expires_at = GREATEST({table}.expires_at, VALUES(expires_at))"
    )

    def time_limit(self, seconds: float) -> dict[str, object]:
        return {"max_statement_time": seconds}

    def lock_wait(self) -> str:
        """Don't wait if a limit on statements would end the wait first, as a failure."""
        wait = super().lock_wait()
        return f"IF(@@max_statement_time > 0 AND @@max_statement_time <= {wait}, 0, {wait})"

    def delete_batch(self, expired: Expired) -> Batch:
        """Don't wait for locks. If a row is locked, delete few, and those one by one."""
        with self.connection.cursor() as cursor:
            part = next_part(cursor, expired)
            try:
                # A comment that MariaDB reads. Tools go by the first word, and this is a DELETE.
                cursor.execute(
                    "/*M! SET STATEMENT innodb_lock_wait_timeout = 0, lock_wait_timeout = 0 FOR */"  # noqa: S608
                    f" DELETE FROM {expired.table} WHERE {part.condition}"
                    f" ORDER BY {part.rank} LIMIT %s",
                    [*part.values, expired.limit],
                )
            except OperationalError as error:
                # MariaDB has it from 10.6 on.
                passes_by = self.connection.features.has_select_for_update_skip_locked
                if not self.ran_into_lock(error) or not passes_by:
                    raise
                return _delete_few_unlocked(cursor, expired, part)
            return expired.limited(cursor.rowcount, part.stop)

    def others_at_work(self, seconds: float, seen: object) -> tuple[bool, object]:
        """Ask who is connected.

        Without the privilege PROCESS only the same user's are seen, but their number is known: the
        others count as busy.
        """
        milliseconds = round(seconds * 1_000) + ON_THE_WAY
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS(SELECT 1 FROM information_schema.processlist WHERE db = DATABASE()"  # noqa: S608 (a number)
                " AND id <> CONNECTION_ID()"
                f" AND (command <> 'Sleep' OR time_ms < {milliseconds})) OR {_UNSEEN}"
            )
            return bool(cursor.fetchone()[0]), None


# Who may see them all needs no number, which is out of date while somebody connects.
_UNSEEN = (
    "(NOT EXISTS(SELECT 1 FROM information_schema.user_privileges WHERE privilege_type = 'PROCESS')"
    " AND (SELECT variable_value + 0 FROM information_schema.global_status"
    " WHERE variable_name = 'THREADS_CONNECTED')"
    " > (SELECT COUNT(*) FROM information_schema.processlist))"
)


def _delete_few_unlocked(cursor: CursorWrapper, expired: Expired, part: Part) -> Batch:
    """Skip locked rows, with one statement for each row, until the batch is past them.

    ``key IN (…)`` may scan the table, and then it locks, and waits for, every row of it.
    """
    table, key, _, limit, _ = expired
    few = min(limit, _FEW)
    cursor.execute(
        f"SELECT {key}, {part.rank} FROM {table} WHERE {part.condition}"  # noqa: S608
        f" ORDER BY {part.rank} LIMIT %s FOR UPDATE SKIP LOCKED",
        [*part.values, few],
    )
    found = cursor.fetchall()
    cursor.executemany(
        f"DELETE FROM {table} WHERE {key} = %s",  # noqa: S608
        [[value] for value, _ in found],
    )
    return expired.done(len(found), found[-1][1] if len(found) == few else part.rest)
