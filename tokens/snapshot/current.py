"""The snapshot in use, swapped by reference, and this process's own revocations beside it."""

import math
import threading
from collections.abc import Iterable

from .clocks import Clocks
from .limits import Limits
from .snapshot import Load, Snapshot


class Current:
    """The snapshot that checks read now, without a lock; writers take turns."""

    def __init__(self, limits: Limits, clocks: Clocks) -> None:
        self._limits, self._clocks = limits, clocks
        self.snapshot: Snapshot | None = None
        # What the next load goes on from.
        self.last: Load | None = None
        # Counts how often that was dropped: a load that began before must not bring it back.
        self.generation = 0
        # Revocations that a load may not have seen: their fingerprints, and when they were noted.
        self._own: dict[int, float] = {}
        # A load that began earlier is of no use.
        self._valid_from = -math.inf
        self.renew()

    def renew(self) -> None:
        """Replace the lock. After a fork, the thread that held the old one is gone."""
        self._writing = threading.Lock()

    def install(self, load: Load, generation: int) -> None:
        """Use what was loaded, unless it is older than what is known by now."""
        with self._writing:
            if generation != self.generation:
                return
            self.last = load
            start = load.start.elapsed
            if start >= self._valid_from:
                self._valid_from = start  # a load that began before, and hung, comes too late
                # A new dictionary: whoever still reads the old snapshot needs the old one.
                self._own = {number: at for number, at in self._own.items() if at >= start}
                self.snapshot = Snapshot.of(load, self._own, slack=self._limits.slack())

    def note(self, fingerprints: Iterable[int]) -> None:
        """Refuse these from now on; if there are too many, put the snapshot aside."""
        with self._writing:
            now = self._clocks.elapsed()
            self._own.update((number, now) for number in fingerprints)
            if len(self._own) > self._limits.own:
                self._own = {}
                self._put_aside(now)

    def distrust(self) -> None:
        """Use no snapshot whose load began before now."""
        with self._writing:
            self._put_aside(self._clocks.elapsed())

    def forget(self) -> None:
        """Use nothing that was read or noted before now."""
        with self._writing:
            self._put_aside(self._clocks.elapsed())
            self._own, self.last = {}, None
            self.generation += 1

    def _put_aside(self, now: float) -> None:
        self.snapshot, self._valid_from = None, now
