"""Logins as they pile up in a table: in the order of time, and with one of two kinds of ends.

"In order": lifetimes of four lengths, so that neighbours of one length expire together. "Spread":
ends at random, as where a session's end moves with each refresh, and a logout comes at any age.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import merge
from typing import NamedTuple

_HOUR = 3_600
_DAY = 24 * _HOUR
_LIFETIMES = (_HOUR, _DAY, 14 * _DAY, 30 * _DAY)
_SEED = 1


class Login(NamedTuple):
    """One login. Times are seconds since 1970; that of the end is a whole one, as in a JWT."""

    created: float
    expires: int
    number: int
    live: bool

    @property
    def logged_out(self) -> bool:
        """Whether its user logged out; exactly four of five did, the others just went away."""
        return self.number % 5 != 0


def logins(expired: int, live: int, now: float, *, spread: bool = False) -> Iterator[Login]:
    """Give the logins of two months in order of time, the same ones for the same numbers."""
    yield from merge(_expired(expired, now, spread=spread), _live(live, now, spread=spread))


def _expired(total: int, now: float, *, spread: bool) -> Iterator[Login]:
    chance = random.Random(_SEED)
    for number in range(total):
        created = now - 60 * _DAY + (60 * _DAY - 3 * _HOUR) * number / total
        if spread:
            end = chance.uniform(max(created + _HOUR, now - 7 * _DAY), now - _HOUR)
            yield Login(created, int(end), number, live=False)
            continue
        over = bisect_right(_LIFETIMES, now - _HOUR - created)
        lifetime = _LIFETIMES[int(chance.random() * over)]
        yield Login(created, int(created + lifetime), number, live=False)


def _live(total: int, now: float, *, spread: bool) -> Iterator[Login]:
    chance = random.Random(_SEED)
    for number in range(total):
        created = now - 28 * _DAY + (28 * _DAY - _HOUR) * number / total
        if spread:
            end = now + chance.uniform(_DAY, 30 * _DAY)
            yield Login(created, int(end), number, live=True)
            continue
        lasting = bisect_left(_LIFETIMES, now + _DAY - created)
        choices = len(_LIFETIMES) - lasting
        lifetime = _LIFETIMES[lasting + int(chance.random() * choices)]
        yield Login(created, int(created + lifetime), number, live=True)
