"""Who loads, and when: one thread at a time, with pauses in between."""

import math
import random
import threading

from .clocks import Clocks


class Turns:
    """The turns of the threads that want to load."""

    def __init__(self, clocks: Clocks, longest_pause: float) -> None:
        self._clocks = clocks
        self._longest_pause = longest_pause
        self._taken_at = self._not_before = -math.inf
        self.renew()

    def renew(self) -> None:
        """Replace the locks. After a fork, the threads that held the old ones are gone."""
        self._turn = threading.Lock()
        self._replacing = threading.Lock()
        # The share of its greatest age at which a snapshot is loaded again. It differs between
        # processes, so that they do not all load at the same moment.
        self.share = random.uniform(0.45, 0.55)  # noqa: S311 (no secret)

    def take(self) -> "threading.Lock | None":
        """Return the lock to release after loading, or None if it is not this caller's turn.

        A load that hangs loses its turn after the longest pause; the next caller gets a new lock.
        """
        now, turn = self._clocks.elapsed(), self._turn
        if now < self._not_before:
            return None
        if turn.acquire(blocking=False):
            self._taken_at = now
            return turn
        if now - self._taken_at >= self._longest_pause:
            with self._replacing:
                if self._turn is turn:
                    self._turn, self._taken_at = threading.Lock(), now
        return None

    def is_free(self) -> bool:
        """Return whether ``take`` would give a turn to somebody, if none is hanging."""
        return self._clocks.elapsed() >= self._not_before and not self._turn.locked()

    def begin(self, max_age: float) -> float:
        """Return the present moment; until the load ends, wait for half of ``max_age``."""
        begun = self._clocks.elapsed()
        self._not_before = begun + max_age / 2
        return begun

    def succeed(self, begun: float, *, times: float) -> None:
        """Wait for ``times`` as long as the load took that began at ``begun``."""
        self._not_before = self._after_pause(begun, times)

    def fail(self, begun: float) -> None:
        """Wait as ``begin`` says, and for at least four times as long as the failed load took."""
        self._not_before = max(self._not_before, self._after_pause(begun, 4))

    def _after_pause(self, begun: float, times: float) -> float:
        now = self._clocks.elapsed()
        return now + min(times * (now - begun), self._longest_pause)
