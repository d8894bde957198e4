"""MariaDB or MySQL: Django has one backend for both, which finds out which it is by connecting."""

from collections.abc import Sequence
from typing import Any

from .innodb import InnoDB
from .mariadb import MariaDB
from .mysql import MySQL
from .orders import Batch, Expired


class MariaDBOrMySQL(InnoDB):
    """Knows what is the same for both, and asks the right one when it connects anyway."""

    def _one(self) -> InnoDB:
        """Return which it is. Django has found out for each connection when it was made."""
        is_mariadb: bool = self.connection.mysql_is_mariadb  # type: ignore[attr-defined]
        return (MariaDB if is_mariadb else MySQL)(self.connection)

    def insert_selected(
        self, table: str, columns: Sequence[str], select: str, parameters: Sequence[Any]
    ) -> bool:
        return self._one().insert_selected(table, columns, select, parameters)

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
        return self._one().insert_rows(table, columns, rows)

    def lock_wait(self) -> str:
        return self._one().lock_wait()

    def time_limit(self, seconds: float) -> dict[str, object]:
        return self._one().time_limit(seconds)

    def delete_batch(self, expired: Expired) -> Batch:
        return self._one().delete_batch(expired)

    def others_at_work(self, seconds: float, seen: object) -> tuple[bool, object]:
        return self._one().others_at_work(seconds, seen)
