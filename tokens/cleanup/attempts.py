"""How a run talks to the database: in short transactions that nothing holds up for long.

Somebody may hold a lock on a whole table for minutes: an index that is built, VACUUM FULL, LOCK
TABLES, another writer of an SQLite file. A run waits for it a second at a time, and looks between
two attempts whether it has to stop.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TypeVar

from django.db import Error, connections

from .. import databases, retry
from ..log import logger
from ..models import CleanupRun
from .limits import Limits, Stopped

T = TypeVar("T")

# Seconds after which a lock that does not go away ends the run as failed.
LONGEST_LOCK = CleanupRun.LEASE.total_seconds()

# Seconds after which the log hears of it.
_SILENT = 1.0

# Seconds between two attempts to get a lock. More would let others be faster each time.
_BETWEEN = 0.1


class _Locked(Exception):
    """Somebody holds a lock. Is no database error, so that ``retry`` lets it through."""

    def __init__(self, error: Error) -> None:
        super().__init__(error)
        self.error = error


class Attempts:
    """The transactions of one run, on the database ``using``.

    ``limits`` end the run while it waits. ``begun`` is called inside of each transaction, when it
    begins, and ``meanwhile`` between two attempts to get a lock. ``failures`` has the errors of the
    attempts since it was cleared.
    """

    def __init__(self, using: str, limits: Limits | None = None) -> None:
        self.using, self._limits = using, limits or Limits()
        self.failures: list[Error] = []
        self.begun: Callable[[], object] = lambda: None
        self.meanwhile: Callable[[], object] = lambda: None

    def write(self, work: Callable[[int], T]) -> T:
        """Return what ``work`` returns, committed; it gets the number of the attempt.

        Raises Stopped if the run has to stop before an attempt succeeds, and the database's error
        if the last attempt fails, or if the lock stays for LONGEST_LOCK.
        """
        wait = self._limits.wait_or_stop
        return self._patiently(lambda number: self._written(work, number, wait), wait)

    def finish(self, work: Callable[[int], T]) -> T:
        """Do what ends the run, as ``write`` does.

        Once the run has to stop, it waits for no more locks, and raises the database's error.
        """

        try:
            return self._patiently(
                lambda number: self._written(work, number, sleep), self._limits.wait_or_stop
            )
        except Stopped:
            raise self.failures[-1]  # noqa: B904 (it has its cause)

    def once(self, work: Callable[[int], T]) -> T:
        """Do what may as well be done later, as ``write`` does, but don't wait for a lock again."""
        try:
            return self._written(work, 0, self._limits.wait_or_stop)
        except _Locked as locked:
            raise locked.error  # noqa: B904 (it has its cause)

    def read(self, question: Callable[[], T]) -> T:
        """Return the answer; waits for locks as ``write`` does, and tries nothing else again."""
        return self._patiently(lambda _number: self._answered(question), self._limits.wait_or_stop)

    def were_refused(self) -> bool:
        """Return whether one of the ``failures`` says that it was too much at once."""
        database = databases.of(connections[self.using])
        return any(
            database.was_too_large(error) or database.ran_out_of_time(error)
            for error in self.failures
        )

    def _patiently(self, attempt: Callable[[int], T], wait: Callable[[float], object]) -> T:
        began, number, told = monotonic(), 0, False
        while True:
            try:
                return attempt(number)
            except _Locked as locked:
                error = locked.error
            if monotonic() - began >= LONGEST_LOCK:
                raise error
            if not told and monotonic() - began >= _SILENT:
                told = True
                _tell(error, self.using)
            wait(_BETWEEN)
            self.meanwhile()
            number = min(number + 1, len(retry.WAITS))

    def _written(self, work: Callable[[int], T], number: int, wait: Callable[[float], object]) -> T:
        database = databases.of(connections[self.using])

        @contextmanager
        def begin() -> Iterator[None]:
            with self._locks_told(), database.transaction():
                self.begun()
                yield

        return retry.write(
            lambda attempt: work(max(attempt, number)), using=self.using, wait=wait, begin=begin
        )

    def _answered(self, question: Callable[[], T]) -> T:
        with self._locks_told(), databases.of(connections[self.using]).reading():
            return question()

    @contextmanager
    def _locks_told(self) -> Iterator[None]:
        try:
            yield
        except Error as error:
            self.failures.append(error)
            if databases.of(connections[self.using]).ran_into_lock(error):
                raise _Locked(error) from error
            raise


def _tell(error: Error, using: str) -> None:
    logger.warning(
        "Token cleanup waits for a lock: %s",
        retry.describe(error),
        extra={"event": "cleanup_waits", "using": using, "error": retry.describe(error)},
    )
