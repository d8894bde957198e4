"""How fast a run of the cleanup goes: at full speed when alone, gently while others work.

Full speed is batches of TOKENS_CLEANUP_BATCH_SECONDS, one after the other. Requests that come
meanwhile share the processors, the disk and, on SQLite, the one lock with them. So while others use
the database, batches are a twentieth as long, and between two of them nine times as long as one
took is left to the others. What a request feels is the length of a batch.
"""

from time import monotonic

from django.db import connections

from .. import databases, retry
from ..conf import conf

FIRST_BATCH = 1_000
_SMALLEST_BATCH, _LARGEST_BATCH = 10, 50_000

# Batches aim below TOKENS_CLEANUP_BATCH_SECONDS, so that most of them stay there.
_AIM = 0.75
_GENTLE_SHARE = 0.05
_GENTLE_REST = 9

# Where the way to the database takes longer than such a batch, fewer rows would not shorten it.
_GENTLE_FEWEST = 500
_LONGEST_REST = 5.0  # seconds; one batch that was stuck is no reason to stop for long


class Pace:
    """The size of the batches and the rests between them, of one table.

    A ``batch_size`` that is given does not adapt, and a ``pause`` that is given, in seconds, is
    the rest, whatever others do.
    """

    def __init__(self, others: "Others", *, batch_size: int | None, pause: float | None) -> None:
        self.size = batch_size or FIRST_BATCH
        self._adapts, self._pause = batch_size is None, pause
        self._others = others

    def adapt(self, size: int, seconds: float) -> float:
        """Set the size of the next batch after one of ``size`` rows; return the seconds to rest."""
        gentle = self._pause is None and self._others.are_busy()
        if self._adapts:
            aim = _AIM * conf.TOKENS_CLEANUP_BATCH_SECONDS
            self.size = _adapted(size, seconds, aim)
            if gentle:
                few = min(self.size, _GENTLE_FEWEST)
                self.size = max(_adapted(size, seconds, aim * _GENTLE_SHARE), few)
        if self._pause is not None:
            return self._pause
        return min(seconds * _GENTLE_REST, _LONGEST_REST) if gentle else 0.0


def _adapted(size: int, seconds: float, aim: float) -> int:
    """Return how many rows take ``aim`` seconds, at most twice or half as many as ``size``."""
    adapted = int(size * min(max(aim / max(seconds, 1e-6), 0.5), 2))
    return min(max(adapted, _SMALLEST_BATCH), _LARGEST_BATCH)


class Others:
    """Whether others use the database during a run.

    Until it has observed for ``ask_first`` seconds, it assumes that they do. Activity before the
    run does not count. Each answer holds for ``ask_every`` seconds.
    """

    def __init__(self, using: str, *, ask_first: float = 0.1, ask_every: float = 0.5) -> None:
        self._using, self._every = using, ask_every
        self._asked: float | None = None
        self._answer = True
        self._wait = ask_first
        self._seen: object = None

    def are_busy(self) -> bool:
        """Return whether others have used the database since this asked it last.

        It asks at most twice a second, in one statement.
        """
        if self._asked is None:
            self._ask(0.0)
        elif (passed := monotonic() - self._asked) >= self._wait:
            self._answer = self._ask(passed)
            self._wait = self._every
        return self._answer

    def _ask(self, passed: float) -> bool:
        database = databases.of(connections[self._using])
        found, self._seen = retry.write(
            lambda _attempt: database.others_at_work(passed, self._seen), using=self._using
        )
        self._asked = monotonic()
        return found
