"""Questions that only inform: they have a time limit, and no answer in time is no failure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from django.db.models import QuerySet

from .base import Database
from .errors import OutOfTime

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Counted:
    """A number of rows. If ``at_least``, there may be more."""

    rows: int
    at_least: bool = False


class Questions:
    """Questions to one database that may take ``seconds`` together. None is repeated."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database, self._until = database, monotonic() + seconds

    def must_ask(self, question: Callable[[], T]) -> T:
        """Return the answer; raise databases.OutOfTime if there is none in time."""
        left = self._until - monotonic()
        if left <= 0:
            raise OutOfTime("no time is left")
        with self._database.asking(left):
            return question()

    def ask(self, question: Callable[[], T]) -> T | None:
        """Return the answer, or None if there is none in time."""
        try:
            return self.must_ask(question)
        except OutOfTime:
            return None

    def count_each(self, each: Sequence[QuerySet[Any]], *, limit: int) -> list[Counted] | None:
        """Return how many of each of these ``rows`` there are, as ``count`` does. One statement."""
        connection = self._database.connection
        counts, parameters = [], list[Any]()
        for rows in each:
            compiler = rows[: limit + 1].query.get_compiler(connection=connection)
            sql, values = compiler.as_sql()
            counts.append(f"(SELECT COUNT(*) FROM ({sql}) counted)")  # noqa: S608
            parameters += values

        def question() -> Sequence[int]:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join(counts)}", parameters)
                found: Sequence[int] = cursor.fetchone()
                return found

        numbers = self.ask(question)
        if numbers is None:
            return None
        return [Counted(min(number, limit), at_least=number > limit) for number in numbers]

    def count(self, rows: QuerySet[Any], *, limit: int | None = None) -> Counted | None:
        """Return how many ``rows`` there are, up to ``limit``, or None if that takes too long."""
        # One more tells whether there are more.
        some = rows if limit is None else rows[: limit + 1]
        number = self.ask(some.count)
        if number is None or limit is None:
            return None if number is None else Counted(number)
        return Counted(min(number, limit), at_least=number > limit)
