"""MySQL."""

from django.db import DatabaseError

from .errors import error_code
from .innodb import InnoDB, next_part
from .orders import Batch, Expired

# Who is connected. The second is deprecated, but knows it with ``performance_schema = OFF`` too.
_PROCESSES = ("performance_schema.processlist", "information_schema.processlist")

# A table or a schema that is not there, or that we may not read.
_NOT_TO_BE_HAD = {1044, 1049, 1109, 1142, 1146, 1227}


class MySQL(InnoDB):
    """MySQL from 8.0.19 on, which is where an INSERT may name the row that it could not insert."""

    SELECTED = "SELECT * FROM ({select})"
    KEEP_THE_LATER_END = (
        "AS new ({columns}) ON DUPLICATE KEY UPDATE"
        " expires_at = GREATEST({table}.expires_at, new.expires_at)"
    )

    def time_limit(self, seconds: float) -> dict[str, object]:
        return {"max_execution_time": max(1, round(seconds * 1_000))}  # of a SELECT

    def delete_batch(self, expired: Expired) -> Batch:
        """One DELETE locks the rows that nobody else has locked, and takes those by their keys.

        It must not look for them in any other way, or it would come by locked ones and wait.
        """
        table, key, *_ = expired
        with self.connection.cursor() as cursor:
            part = next_part(cursor, expired)
            cursor.execute(
                f"DELETE {table} FROM (SELECT {key} FROM {table} WHERE {part.condition}"  # noqa: S608
                f" ORDER BY {part.rank} LIMIT %s FOR UPDATE SKIP LOCKED) AS due"
                f" STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY) ON {table}.{key} = due.{key}",
                [*part.values, expired.limit],
            )
            return expired.limited(cursor.rowcount, part.stop)

    def others_at_work(self, seconds: float, seen: object) -> tuple[bool, object]:
        """Ask who is connected. Without the privilege PROCESS only the same user's are seen.

        MySQL knows for how many whole seconds a connection has been idle, so others may count as
        active for a second longer than they are. A second statement is needed if the first table
        does not list even this connection.
        """
        for table in _PROCESSES:
            answer = self._others_in(table)
            if answer is not None:
                return answer, None
        return True, None

    def _others_in(self, table: str) -> bool | None:
        """Return whether ``table`` lists others at work, or None if it does not list even us."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(
                    "SELECT SUM(id = CONNECTION_ID()), SUM(id <> CONNECTION_ID()"  # noqa: S608
                    " AND db = DATABASE() AND (command <> 'Sleep' OR time < 1))"
                    f" FROM {table}"
                )
                ourselves, others = cursor.fetchone()
        except DatabaseError as error:
            if error_code(error) not in _NOT_TO_BE_HAD:
                raise
            return None
        return bool(others) if ourselves else None
