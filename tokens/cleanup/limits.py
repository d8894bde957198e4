"""What ends a run early: a request to stop, the end of its time, or the loss of its lease."""

import threading
from collections.abc import Callable, Iterator
from time import monotonic

ASKED = "asked to stop"
OUT_OF_TIME = "out of time"
LEASE_LOST = "lease lost"


class Stopped(Exception):
    """A limit was reached while the run waited for something else than its next batch."""


class Limits:
    """The ``stop`` event and the time of one run, which begins now.

    ``monotonic`` returns seconds. ``reason`` says why the run has to stop, or is None.
    """

    def __init__(
        self,
        *,
        stop: threading.Event | None = None,
        max_seconds: float | None = None,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self.reason: str | None = None
        self._stop, self._monotonic = stop or threading.Event(), monotonic
        self.wait = self._stop.wait
        self._began = monotonic()
        self._longest = float("inf") if max_seconds is None else max_seconds

    def seconds(self) -> float:
        """Return for how long the run has been going."""
        return self._monotonic() - self._began

    def reached(self) -> bool:
        """Return whether the run has to stop. Once it has to, it always will."""
        if self.reason is None:
            if self._stop.is_set():
                self.reason = ASKED
            elif self.seconds() >= self._longest:
                self.reason = OUT_OF_TIME
        return self.reason is not None

    def rest(self, seconds: float, *, slices: float) -> Iterator[None]:
        """Wait until ``seconds`` have passed or a limit is reached.

        Yields after each of the ``slices``, which are that many seconds long.
        """
        until = min(self.seconds() + seconds, self._longest)
        while (left := until - self.seconds()) > 0 and not self.reached():
            self.wait(min(left, slices))
            yield

    def wait_or_stop(self, seconds: float) -> None:
        """Wait for ``seconds``; raise Stopped if a limit is reached before or meanwhile."""
        for _ in self.rest(seconds, slices=seconds):
            pass
        if self.reached():
            raise Stopped
