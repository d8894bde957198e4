"""How old something is, by two clocks: one that is never set, and one that goes on in a pause."""

import time
from functools import partial
from typing import NamedTuple

# On Linux, time.monotonic stands still while the machine is suspended.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
_elapsed = time.monotonic if _CLOCK is None else partial(time.clock_gettime, _CLOCK)


class Moment(NamedTuple):
    """A moment by both clocks, in seconds."""

    elapsed: float
    wall: float


def now() -> Moment:
    return Moment(_elapsed(), time.time())


def since(moment: Moment) -> float:
    """Return the seconds since ``moment``, by the clock that says more.

    A wall clock that was set makes a copy old, because only that clock may notice that the whole
    host was paused.
    """
    return max(_elapsed() - moment.elapsed, abs(time.time() - moment.wall))
