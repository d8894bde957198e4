"""A copy of the feed: what one answer said, and those after it."""

import binascii
import sys
from array import array
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .clocks import Moment
from .errors import FeedError, NotCovered
from .rules import Malformed, Rules

VERSION = 1

# Seconds that the feed's clock may lose against ours between two answers. Each answer goes back by
# twice as much.
CLOCK_MAY_LOSE = 2.5


class ClockSetBack(FeedError):
    """The clock of the feed was set back, so an answer may lack something."""


@dataclass(frozen=True, slots=True)
class Copy:
    """All that had been revoked when the newest answer was asked for, at ``started``. Immutable."""

    started: Moment
    ended: Moment  # when it had been read
    now: float  # by the feed's clock
    cursor: str
    covers_from: int
    rules: Rules
    users_from: int | None
    users: Mapping[int, int]
    keys: "array[int]"  # of the last complete answer, sorted
    # Of the answers since then, and of those since a complete one was asked for that is under way.
    older: frozenset[int] = frozenset()
    newer: frozenset[int] = frozenset()
    # Whether the clock of the feed can't have been set back since the last complete answer.
    is_sure: bool = True

    def refuses(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the claims of a verified access token are refused. Raises NotCovered."""
        try:
            found = self.rules.read(claims)
        except Malformed:
            return True
        if self._has(found.token) or (found.session is not None and self._has(found.session)):
            return True
        lifetime, rules = found.expires_at - found.issued_at, self.rules
        if found.session is None:
            if rules.longest_lifetime is not None and lifetime > rules.longest_lifetime:
                return True
            self._demand(self.users_from is not None and found.issued_at >= self.users_from)
            if found.user is not None and self.users.get(found.user, -1) >= found.issued_at:
                return True
        # A session that has ended may be forgotten before a token that lives longer than usual.
        self._demand(found.session is None or lifetime <= rules.access_lifetime)
        self._demand(not rules.may_extend(claims))
        # A lifetime begins when the refresh token was verified, which may be before ``iat``.
        began = min(found.issued_at, found.expires_at - rules.access_lifetime)
        self._demand(began >= self.covers_from)
        return False

    def _has(self, key: int) -> bool:
        place = bisect_left(self.keys, key)
        is_there = place < len(self.keys) and self.keys[place] == key
        return is_there or key in self.newer or key in self.older

    def awaiting(self) -> "Copy":
        """Return the same copy, ready for a complete answer that is asked for from now on."""
        return replace(self, older=self.older | self.newer, newer=frozenset(), is_sure=True)

    def completed(self, complete: "Copy") -> "Copy":
        """Return this copy with the keys of a complete answer, asked for after ``awaiting``."""
        return replace(
            self, keys=complete.keys, covers_from=complete.covers_from, older=frozenset()
        )

    @staticmethod
    def _demand(is_covered: bool) -> None:  # noqa: FBT001
        if not is_covered:
            raise NotCovered("the feed can't decide about this token: ask introspect/, or refuse")


def merged(
    before: Copy | None, given: Mapping[str, Any], *, started: Moment, ended: Moment
) -> Copy:
    """Return the copy after an answer that was asked for at ``started`` and read at ``ended``.

    Raises FeedError if the answer can't be used, and ClockSetBack.
    """
    try:
        if given["version"] != VERSION:
            raise FeedError(f"the feed speaks version {given['version']}, and not {VERSION}")
        said: dict[str, Any] = {
            "started": started,
            "ended": ended,
            "now": float(given["now"]),
            "cursor": str(given["cursor"]),
            "rules": Rules.of(given["rules"]),
            "users_from": given["users_from"],
            "users": {int(key, 16): int(until) for key, until in given["users"].items()},
        }
        keys = _keys(given["keys"])
        if given["complete"]:
            sorted_keys, covers_from = array("Q", sorted(keys)), int(given["covers_from"])
            return Copy(keys=sorted_keys, covers_from=covers_from, **said)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FeedError("the answer is not that of a feed") from error
    if before is None:
        raise FeedError("the feed sent a part of what was revoked, and not all")
    # Each answer has its moment between when it was asked for and when it had been read.
    passed = said["now"] - before.now
    if started.elapsed - before.ended.elapsed - passed > CLOCK_MAY_LOSE:
        raise ClockSetBack("the clock of the feed was set back")
    is_sure = ended.elapsed - before.started.elapsed - passed <= CLOCK_MAY_LOSE
    newer, is_sure = before.newer.union(keys), before.is_sure and is_sure
    return replace(before, newer=newer, is_sure=is_sure, **said)


def _keys(text: str) -> "array[int]":
    try:
        keys = array("Q", b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise FeedError("the keys of the feed can't be read") from error
    if sys.byteorder == "little":
        keys.byteswap()
    return keys
