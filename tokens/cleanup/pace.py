"""How fast a run of the cleanup goes: at full speed when alone, gently while others work.

Full speed is batches of TOKENS_CLEANUP_BATCH_SECONDS, one after the other. Requests that come
meanwhile share the processors, the disk and, on SQLite, the one lock with them. So while others use
the database, batches are a twentieth as long, and between two of them nine times as long as one
took is left to the others. What a request feels is the length of a batch.
"""

import math
from time import monotonic

from django.db import Error, connections

from .. import databases
from ..conf import conf

FIRST_BATCH = 1_000
_SMALLEST_BATCH, _LARGEST_BATCH = 10, 100_000

# Batches aim below TOKENS_CLEANUP_BATCH_SECONDS, so that most of them stay there.
_AIM = 0.75
_GENTLE_SHARE = 0.05
_GENTLE_REST = 9

# A size grows by this much at least if its batch was quick, whatever is believed.
_GROWS = 1.1

# Of what is known of the batches before, with each batch.
_KEPT = 0.9
_ENOUGH_SPREAD = 1e-4

# Where the way to the database takes longer than such a batch, fewer rows would not shorten it.
_GENTLE_FEWEST = 500
_ASK_SECONDS = 1.0
_LONGEST_REST = 5.0  # seconds; one batch that was stuck is no reason to stop for long


class Pace:
    """The size of the batches and the rests between them, of one table.

    A ``batch_size`` that is given does not adapt, and a ``pause`` that is given, in seconds, is
    the rest, whatever others do. No batch has more than ``most`` rows.
    """

    def __init__(
        self,
        others: "Others",
        *,
        batch_size: int | None,
        pause: float | None,
        most: int | None = None,
    ) -> None:
        self.size = batch_size or FIRST_BATCH
        self._adapts, self._pause = batch_size is None, pause
        self._others, self._most = others, _LARGEST_BATCH
        self._cost = _Cost()
        if most is not None:
            self.never_exceed(most)

    @property
    def is_exact(self) -> bool:
        """Whether a batch must not have a row more than ``size``, which is about time otherwise."""
        return not self._adapts or self._most < _LARGEST_BATCH

    def never_exceed(self, size: int) -> None:
        """Keep to this size, because the server refuses a larger one."""
        self._most = size
        self.size = min(self.size, size)

    def adapt(self, size: int, seconds: float, *, removed: int) -> float:
        """Set the size of the next batch after one of ``size`` rows; return the seconds to rest.

        It shrinks at once, and grows as far as the batches so far say: one that was quick may have
        been lucky. One that ``removed`` few, among many, says little about one that finds all.
        """
        gentle = self._pause is None and self._others.are_busy()
        self._cost.note(removed, seconds)
        if self._adapts:
            short = _AIM * conf.TOKENS_CLEANUP_BATCH_SECONDS
            # Rows take as long as the rest of their batch, or most of the time goes into that.
            aim = max(short, self._cost.fixed + min(self._cost.fixed, short))
            self.size = _adapted(size, seconds, aim)
            if self.size > size:
                known = self._cost.rows_in(aim)
                if removed < size / 4:
                    self.size = min(self.size, max(size, known or 0))
                else:
                    self.size = min(self.size, max(round(size * _GROWS), known or self.size))
            if gentle:
                few = min(self.size, _GENTLE_FEWEST)
                self.size = max(_adapted(size, seconds, short * _GENTLE_SHARE), few)
            self.size = min(self.size, self._most)
        if self._pause is not None:
            return self._pause
        if not gentle:
            return 0.0
        return min(seconds * _GENTLE_REST, _LONGEST_REST, self._others.unknown_for())


class _Cost:
    """What a batch takes whatever its size, and what each row takes, in seconds: a line through the
    batches so far, in which older ones count less and less.

    On a busy machine both grow. Batches that keep to a time then have so few rows that most of it
    is lost on what each batch takes: on SQLite, writing the pages of the other indexes.
    """

    def __init__(self) -> None:
        self.fixed = self.each = 0.0
        self._sums, self._least = [0.0] * 5, math.inf

    def note(self, rows: int, seconds: float) -> None:
        """Take another batch into account. Batches of one size say nothing."""
        added = (1.0, rows, seconds, rows * rows, rows * seconds)
        self._sums = [_KEPT * old + new for old, new in zip(self._sums, added, strict=True)]
        number, n, t, nn, nt = self._sums
        spread = number * nn - n * n
        if spread > _ENOUGH_SPREAD * n * n:
            self.each = max((number * nt - n * t) / spread, 0.0)
            self.fixed = max((t - self.each * n) / number, 0.0)
        self._least = min(self._least / _KEPT, seconds)
        # One that was stuck may tilt the line, but none takes less than what each takes.
        self.fixed = min(self.fixed, self._least)

    def rows_in(self, seconds: float) -> int | None:
        """Return how many rows a batch of so many seconds has, or None if nothing is known."""
        return round((seconds - self.fixed) / self.each) if self.each else None


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

    def unknown_for(self) -> float:
        """Return how many seconds it still has to observe; infinity once it knows."""
        if self._asked is None or self._wait == self._every:
            return math.inf
        return max(self._asked + self._wait - monotonic(), 0.0)

    def note_our_own(self) -> None:
        """Tell the database that the transaction under way is the run's, if that matters there."""
        databases.of(connections[self._using]).note_our_own(self._seen)

    def _ask(self, passed: float) -> bool:
        """Return the answer; yes if there is none, which is no reason to fail."""
        connection = connections[self._using]
        database = databases.of(connection)
        try:
            with database.asking(_ASK_SECONDS):
                found, self._seen = database.others_at_work(passed, self._seen)
        except Error:
            connection.close_if_unusable_or_obsolete()
            found = True
        self._asked = monotonic()
        return found
