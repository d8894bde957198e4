"""The clocks that tell how old a snapshot is."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from .. import clock


@dataclass(frozen=True, slots=True)
class Clocks:
    """Two clocks: ``elapsed`` is never set, and ``wall`` returns the seconds since 1970."""

    elapsed: Callable[[], float] = clock.elapsed
    wall: Callable[[], float] = time.time


class Start:
    """When a load began, by both clocks."""

    __slots__ = ("_clocks", "elapsed", "wall")

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self.elapsed = clocks.elapsed()
        self.wall = clocks.wall()

    def age(self) -> float:
        """Return the seconds since then, by the clock that says more.

        A wall clock that was set makes a snapshot old, because only that clock may notice that
        the whole host was paused.
        """
        # Python 3.11 is slow at looking up and calling what a slot holds in one expression.
        elapsed, wall = self._clocks.elapsed, self._clocks.wall
        age = elapsed() - self.elapsed
        by_wall = abs(wall() - self.wall)
        return age if age > by_wall else by_wall


CLOCKS = Clocks()
