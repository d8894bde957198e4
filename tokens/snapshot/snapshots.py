"""Cached checks: answer from a copy of the recent entries that is at most so old, or not at all.

``refuses`` answers None wherever the copy can't know, and then the database is asked. So what the
copy lacks costs a statement, and never accepts a token.

An entry refuses tokens that were issued before it was made, so a copy that holds all entries since
some moment knows about all tokens that were issued since. The copy is immutable and swapped by
reference. It is loaded by whichever thread finds it half as old as it may be, while others go on
with it; there is no thread of its own that could die in a fork. Age counts from before the first
statement of a load, so a copy has all that was committed when its age was zero.
"""

import logging
import math
import os
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import clock
from ..claims import Claims
from ..conf import conf, simplejwt
from ..keys import fingerprints_of
from ..models import BlacklistEntry
from . import pending, recent
from .keyset import KeySet

logger = logging.getLogger("tokens")

# Reading the whole window is repeated when it is so many times as old as it took; until then only
# what is younger than it is read.
WHOLE_EVERY = 20

_LONGEST_PAUSE = 60.0

# Revocations of this process that a load may not have seen; with more of them it waits for one.
OWN_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Facts:
    """How the cached checks of this process do; the numbers count from its start."""

    age: float | None  # of the copy, in seconds; None without one
    size: int  # entries in the copy; those it has read twice count twice
    loads: int
    failures: int  # loads that failed
    from_copy: int  # checks that the copy answered
    not_covered: int  # checks that it never could: old tokens, tokens without ``sid``
    without_copy: int  # checks that found no copy young enough


def refuses(claims: Claims, *, using: str) -> bool | None:
    """Return whether an entry refuses an access token of these claims, or None: ask the database.

    Costs no statement, unless it is this caller's turn to load the copy.
    """
    max_age = conf.TOKENS_CHECK_MAX_AGE
    if not max_age:
        return None
    copies = _copies.get(using) or _copies.setdefault(using, _Copies(using))
    if claims.sid is None or claims.needs_session or pending.is_waiting(using):
        copies.not_covered += 1
        return None
    copy = copies.fresh(max_age.total_seconds())
    if copy is None:
        copies.without_copy += 1
        return None
    if not copy.covers(claims):
        copies.not_covered += 1
        return None
    copies.from_copy += 1
    return copy.holds_any(fingerprints_of(claims.sid, claims.jti, claims.issuer))


def note(fingerprints: Iterable[int], *, using: str) -> None:
    """Refuse what this process has revoked and committed from now on, whatever the copy says."""
    if copies := _copies.get(using):
        copies.note(fingerprints)


def distrust(*, using: str) -> None:
    """Use no copy until one was read that began from now on: more was committed than is known."""
    if copies := _copies.get(using):
        copies.distrust()


def forget(*, using: str) -> None:
    """Do what ``distrust`` does, and read the whole window: entries have gone."""
    if copies := _copies.get(using):
        copies.forget()


def reset() -> None:
    """Forget everything: the copies, what this process revoked, and the numbers. For tests."""
    _copies.clear()


def facts(*, using: str | None = None) -> Facts:
    """Return how cached checks do on the database of the blacklist, or on ``using``."""
    copies = _copies.get(using or router.db_for_write(BlacklistEntry))
    return copies.facts() if copies else Facts(None, 0, 0, 0, 0, 0, 0)


def _slack() -> float:
    """Return how many seconds an entry may seem to be older than a token that it refuses.

    By so much may the clocks differ, and so long may a transaction be open unnoticed.
    """
    return conf.TOKENS_CLEANUP_MARGIN.total_seconds() + pending.PATIENCE


class _Start:
    """The beginning of a load, by the clock that only goes on and by the one on the wall."""

    __slots__ = ("elapsed", "wall")

    def __init__(self) -> None:
        self.elapsed = clock.elapsed()
        self.wall = time.time()

    def age(self) -> float:
        """Return the seconds since then.

        A wall clock that was set counts too: after a pause of the whole host the other one may
        not know about it.
        """
        age = clock.elapsed() - self.elapsed
        by_wall = abs(time.time() - self.wall)
        return age if age > by_wall else by_wall


@dataclass(frozen=True, slots=True)
class _Base:
    """The whole window, as it was read once."""

    keys: KeySet
    since: datetime
    start: _Start
    seconds: float

    def floor(self, start: _Start) -> datetime:
        """Return from which moment on a load that begins at ``start`` has to read, to complete it.

        What was committed after the base had been read was made no earlier. A wall clock that was
        set back meanwhile moves the floor along.
        """
        began = min(self.start.wall, start.wall - (start.elapsed - self.start.elapsed))
        return datetime.fromtimestamp(began - _slack(), UTC)

    def is_due(self) -> bool:
        """Return whether the whole window is to be read again."""
        return clock.elapsed() - self.start.elapsed >= WHOLE_EVERY * self.seconds


class _Copy:
    """What checks go by: the entries as they were at ``start``, and our own since then."""

    __slots__ = ("_aware", "_naive", "_sets", "own", "start")

    def __init__(self, base: _Base, recent: KeySet | None, start: _Start) -> None:
        self._sets = (base.keys,) if recent is None else (base.keys, recent)
        self.start = start
        self.own: dict[int, float] = {}
        issued = base.since + timedelta(seconds=_slack())
        expires = issued + simplejwt.ACCESS_TOKEN_LIFETIME
        self._aware = issued, expires
        self._naive = issued.replace(tzinfo=None), expires.replace(tzinfo=None)

    def covers(self, claims: Claims) -> bool:
        """Return whether any entry that refuses this token was made recently enough to be here.

        A token counts as issued one ACCESS_TOKEN_LIFETIME before it ends, if that is earlier: an
        access token lives from the moment when its refresh token was verified.
        """
        issued, expires = self._naive if claims.issued_at.tzinfo is None else self._aware
        return claims.issued_at >= issued and claims.expires_at >= expires

    def holds_any(self, fingerprints: tuple[int, ...]) -> bool:
        for keys in self._sets:
            if not keys.isdisjoint(fingerprints):
                return True
        return bool(self.own) and not self.own.keys().isdisjoint(fingerprints)

    @property
    def size(self) -> int:
        return sum(map(len, self._sets))


class _Copies:
    """The copy of one database and its successors."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.loads = self.failures = 0
        self.from_copy = self.not_covered = self.without_copy = 0
        self._copy: _Copy | None = None
        self._base: _Base | None = None
        self._own: dict[int, float] = {}
        self._valid_from = -math.inf
        self._generation = 0
        self._begun = self._not_before = self._quiet_until = -math.inf
        self.renew()

    def renew(self) -> None:
        """Make the locks, after a fork anew: the threads that held the old ones are gone."""
        self._loading = threading.Lock()
        self._swapping = threading.Lock()
        # A share of the greatest age, different in each process, so that not all load at once.
        self._load_at = random.uniform(0.45, 0.55)  # noqa: S311 (no secret)

    def fresh(self, max_age: float) -> _Copy | None:
        """Return a copy that is no older than ``max_age`` seconds, loading one if it is time to."""
        copy = self._copy
        if copy is not None and copy.start.age() <= max_age * self._load_at:
            return copy
        if (turn := self._turn()) is not None:
            try:
                self._load(max_age)
            finally:
                turn.release()
        copy = self._copy
        return copy if copy is not None and copy.start.age() <= max_age else None

    def _turn(self) -> "threading.Lock | None":
        """Return the lock of the present load if it is this caller's turn to load.

        A load that hangs has it for a while only: then the next caller gets another one.
        """
        now, lock = clock.elapsed(), self._loading
        if now < self._not_before:
            return None
        if lock.acquire(blocking=False):
            self._begun = now
            return lock
        if now - self._begun >= _LONGEST_PAUSE:
            with self._swapping:
                if self._loading is lock:
                    self._loading, self._begun = threading.Lock(), now
        return None

    def note(self, fingerprints: Iterable[int]) -> None:
        with self._swapping:
            now = clock.elapsed()
            self._own.update((number, now) for number in fingerprints)
            if len(self._own) > OWN_LIMIT:
                self._own, self._copy, self._valid_from = {}, None, now

    def distrust(self) -> None:
        with self._swapping:
            self._copy, self._valid_from = None, clock.elapsed()

    def forget(self) -> None:
        with self._swapping:
            self._copy, self._valid_from = None, clock.elapsed()
            self._own, self._base = {}, None
            self._generation += 1

    def facts(self) -> Facts:
        copy = self._copy
        return Facts(
            age=copy.start.age() if copy else None,
            size=copy.size if copy else 0,
            loads=self.loads,
            failures=self.failures,
            from_copy=self.from_copy,
            not_covered=self.not_covered,
            without_copy=self.without_copy,
        )

    def _load(self, max_age: float) -> None:
        """Load a copy, or log why there is none; the next attempt waits for a while."""
        begun = clock.elapsed()
        self._not_before = begun + max_age / 2
        if recent.obstacle(connections[self.using]):
            return
        generation = self._generation
        try:
            with recent.connection_to(self.using) as connection:
                base, copy = self._read(connection, max_age)
        except Exception:  # whatever it is, the caller asks the database
            self.failures += 1
            self._not_before = max(self._not_before, clock.elapsed() + _pause(begun, 4))
            if begun >= self._quiet_until:
                self._quiet_until = begun + max_age
                logger.warning(
                    "the recent entries can't be read: each check asks the database itself",
                    exc_info=True,
                    extra={"event": "snapshot_failed"},
                )
            return
        self.loads += 1
        self._install(base, copy, generation)
        # Loading takes no more than a fifth of the time, and less where it is of no use.
        is_late = clock.elapsed() - copy.start.elapsed >= max_age
        times = WHOLE_EVERY if is_late else 4
        self._not_before = clock.elapsed() + _pause(copy.start.elapsed, times)

    def _read(self, connection: BaseDatabaseWrapper, max_age: float) -> tuple[_Base, _Copy]:
        base, start = self._base, _Start()
        if base is None or base.is_due():
            base = _whole(connection, start, max_age)
            if base.seconds <= max_age / 4:
                return base, _Copy(base, None, start)
            start = _Start()
        floor = base.floor(start)
        young = recent.read(connection, floor)
        if young.since > floor:  # so many that they leave no room for what is older
            base = _base(young, start)
            return base, _Copy(base, None, start)
        return base, _Copy(base, KeySet(young.fingerprints), start)

    def _install(self, base: _Base, copy: _Copy, generation: int) -> None:
        with self._swapping:
            if generation != self._generation:
                return
            self._base = base
            start = copy.start.elapsed
            if start >= self._valid_from:
                self._valid_from = start  # what began before, and hung, comes too late
                # A dictionary of its own: whoever still reads the old copy needs the old one.
                self._own = {number: at for number, at in self._own.items() if at >= start}
                copy.own = self._own
                self._copy = copy


def _pause(since: float, times: int) -> float:
    """Return for how many seconds to load nothing, after what has begun at ``since``.

    There is a limit: one load in which the database hung is not to be felt for long.
    """
    return min(times * (clock.elapsed() - since), _LONGEST_PAUSE)


def _whole(connection: BaseDatabaseWrapper, start: _Start, max_age: float) -> _Base:
    """Read all entries that may refuse an access token that was made in the usual way."""
    seconds = (simplejwt.ACCESS_TOKEN_LIFETIME + simplejwt.LEEWAY).total_seconds()
    since = datetime.fromtimestamp(start.wall - seconds - max_age - 2 * _slack(), UTC)
    return _base(recent.read(connection, since), start)


def _base(read: recent.Window, start: _Start) -> _Base:
    keys = KeySet(read.fingerprints)
    return _Base(keys, read.since, start, clock.elapsed() - start.elapsed)


_copies: dict[str, _Copies] = {}


def _after_fork() -> None:
    for copies in _copies.values():
        copies.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
