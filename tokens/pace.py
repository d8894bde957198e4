"""How fast a run of the cleanup goes: at full speed when alone, gently while others work.

Full speed is batches of TOKENS_CLEANUP_BATCH_SECONDS, one after the other. Requests that come
meanwhile share the processors, the disk and, on SQLite, the one lock with them. So while others use
the database, batches are a twentieth as long, and between two of them nine times as long as one
took is left to the others. What a request feels is the length of a batch.
"""

from time import monotonic

from django.db import connections

from . import retry
from .conf import conf

FIRST_BATCH = 1_000
_SMALLEST_BATCH, _LARGEST_BATCH = 10, 50_000

# Batches aim below TOKENS_CLEANUP_BATCH_SECONDS, so that most of them stay there.
_AIM = 0.75
_GENTLE_SHARE = 0.05
_GENTLE_REST = 9

# Seconds for which the answer to "do others work?" holds.
_ASK_EVERY = 0.5


class Pace:
    """The size of the batches and the rests between them, of one run.

    A ``batch_size`` that is given does not adapt, and a ``pause`` that is given, in seconds, is
    the rest, whatever others do.
    """

    def __init__(self, using: str, *, batch_size: int | None, pause: float | None) -> None:
        self.size = batch_size or FIRST_BATCH
        self._adapts, self._pause = batch_size is None, pause
        self._others = _Others(using)

    def adapt(self, size: int, seconds: float) -> float:
        """Set the size of the next batch after one of ``size`` rows; return the seconds to rest."""
        gentle = self._pause is None and self._others.work()
        if self._adapts:
            aim = _AIM * conf.TOKENS_CLEANUP_BATCH_SECONDS * (_GENTLE_SHARE if gentle else 1)
            adapted = int(size * min(max(aim / max(seconds, 1e-6), 0.5), 2))
            self.size = min(max(adapted, _SMALLEST_BATCH), _LARGEST_BATCH)
        if self._pause is not None:
            return self._pause
        return seconds * _GENTLE_REST if gentle else 0.0


class _Others:
    """Whether anybody else has used the database within the last second or so."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._asked = float("-inf")
        self._answer = False
        self._version: object = None

    def work(self) -> bool:
        """Ask, at most twice a second: one statement."""
        if monotonic() - self._asked >= _ASK_EVERY:
            self._answer = retry.write(lambda _attempt: self._ask(), using=self._using)
            self._asked = monotonic()
        return self._answer

    def _ask(self) -> bool:
        connection = connections[self._using]
        question = _QUESTIONS.get(connection.vendor)
        if question is None:
            return True
        with connection.cursor() as cursor:
            cursor.execute(question)
            found = cursor.fetchone()[0]
        if connection.vendor != "sqlite":
            return bool(found)
        # A number that changes when another connection has written.
        before, self._version = self._version, found
        return before not in (None, found)


# A role that may not see what others do, sees NULL, and takes them to be at work.
_QUESTIONS = {
    "mysql": (
        "SELECT EXISTS(SELECT 1 FROM information_schema.processlist WHERE db = DATABASE()"
        " AND id <> CONNECTION_ID() AND (command <> 'Sleep' OR time < 1))"
    ),
    "postgresql": (
        "SELECT EXISTS(SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND (state = 'active'"
        " OR state IS NULL OR state_change > clock_timestamp() - interval '1 second'))"
    ),
    "sqlite": "PRAGMA data_version",
}
