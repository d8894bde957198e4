"""What the processes of one measurement tell each other: numbers in a file that all of them map.

Moments are of the monotonic clock, which the processes of one host share. Zero: not yet.
"""

import mmap
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from time import monotonic

_BYTES = 8
_POLL = 0.05


class Board:
    """Moments of each token, and how far each lane has come.

    A lane is a number of tokens that are revoked one after another by one thread. ``accepted``
    has a part for each thread that checks, which alone writes to it.
    """

    def __init__(self, path: str, lanes: list[int], parts: int, processes: int) -> None:
        self.lanes = lanes
        self.tokens = sum(lanes)
        self._starts = [0, *accumulate(lanes)]
        size = (2 + processes + len(lanes) + self.tokens * (1 + parts)) * _BYTES
        file = Path(path)
        if not file.exists():
            file.write_bytes(bytes(size))
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), size)
        numbers = memoryview(self._map).cast("d")
        self._start, self._stop, rest = numbers[:1], numbers[1:2], numbers[2:]
        self._ready, rest = rest[:processes], rest[processes:]
        self._begun, rest = rest[: len(lanes)], rest[len(lanes) :]
        self.revoked, rest = rest[: self.tokens], rest[self.tokens :]
        self.accepted = [
            rest[number * self.tokens : (number + 1) * self.tokens] for number in range(parts)
        ]

    def tokens_of(self, lane: int) -> range:
        """Return the numbers of the tokens of a lane."""
        return range(self._starts[lane], self._starts[lane + 1])

    def start(self, patience: float) -> float:
        """Let all processes start together once they are ready; return the moment.

        Raises TimeoutError if one of them is not ready after ``patience`` seconds.
        """
        deadline = monotonic() + patience
        while not all(self._ready):
            if monotonic() > deadline:
                raise TimeoutError("a process did not start")
            time.sleep(_POLL)
        self._start[0] = monotonic() + 2 * _POLL
        return self._start[0]

    def wait(self, process: int) -> float:
        """Tell that a process is ready, and wait for the common start; return its moment."""
        self._ready[process] = 1
        while not self._start[0]:
            time.sleep(_POLL)
        time.sleep(max(0.0, self._start[0] - monotonic()))
        return self._start[0]

    def begin(self, lane: int) -> None:
        """Tell that the next token of the lane is about to be revoked."""
        self._begun[lane] += 1

    def begun(self, lane: int) -> int:
        return int(self._begun[lane])

    def stop(self, moment: float) -> None:
        self._stop[0] = moment

    def stopped(self, now: float) -> bool:
        return 0 < self._stop[0] <= now

    def staleness(self) -> Iterator[float]:
        """Give the seconds from each revocation's answer to the last check that accepted it.

        Less than zero where that check began before the answer.
        """
        for token, answered in enumerate(self.revoked):
            if answered:
                last = max(part[token] for part in self.accepted)
                if last:
                    yield last - answered
