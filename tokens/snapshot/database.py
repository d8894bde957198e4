"""The snapshot of one database: asked by checks, and loaded by the check whose turn it is."""

import math

from django.db import connections

from ..claims import Claims
from ..log import logger
from . import pending, recent
from .clocks import CLOCKS, Clocks
from .current import Current
from .facts import Counters, Facts
from .limits import LIMITS, Limits
from .loader import Loader, Read
from .snapshot import Snapshot
from .turns import Turns


class DatabaseSnapshot:
    """The snapshot of the database ``using`` and its successors."""

    def __init__(
        self,
        using: str,
        *,
        limits: Limits = LIMITS,
        clocks: Clocks = CLOCKS,
        read: Read = recent.read,
    ) -> None:
        self.using = using
        self.limits = limits
        self.current = Current(limits, clocks)
        self._counters = Counters()
        self._loader = Loader(limits, clocks, read)
        self._turns = Turns(clocks, limits.longest_pause)
        self._clocks = clocks
        self._quiet_until = -math.inf

    def renew(self) -> None:
        """Begin anew in a forked child: no thread of the parent's goes on here."""
        self.current.renew()
        self._turns.renew()

    def refuses(self, claims: Claims, max_age: float) -> bool | None:
        """Return whether an entry refuses an access token of these claims, or None: unknown."""
        counters = self._counters
        if (
            claims.sid is None
            or claims.needs_session
            or (pending.waiting and pending.is_waiting(self.using))
        ):
            counters.not_covered += 1
            return None
        snapshot = self.current.snapshot
        if snapshot is None or snapshot.start.age() > max_age * self._turns.share:
            snapshot = self._renewed(max_age)
        if snapshot is None:
            counters.without_snapshot += 1
            return None
        answer = snapshot.refuses(claims)
        if answer is None:
            counters.not_covered += 1
        else:
            counters.from_snapshot += 1
        return answer

    def refuses_at_once(self, claims: Claims, max_age: float) -> bool | None:
        """Return what ``refuses`` does, but None if that would load, or look at a connection."""
        snapshot = self.current.snapshot
        if claims.sid is None or claims.needs_session or pending.waiting or snapshot is None:
            return None
        age = snapshot.start.age()
        is_due = age > max_age * self._turns.share and self._turns.is_free()
        if is_due or age > max_age:
            return None
        answer = snapshot.refuses(claims)
        if answer is not None:
            self._counters.from_snapshot += 1
        return answer

    def facts(self) -> Facts:
        return self._counters.facts(self.current.snapshot)

    def _renewed(self, max_age: float) -> Snapshot | None:
        """Load if it is this caller's turn; return a snapshot no older than ``max_age`` seconds."""
        if (turn := self._turns.take()) is not None:
            try:
                self._load(max_age)
            finally:
                turn.release()
        snapshot = self.current.snapshot
        return snapshot if snapshot is not None and snapshot.start.age() <= max_age else None

    def _load(self, max_age: float) -> None:
        """Load a snapshot, or log why there is none; the next attempt waits for a while."""
        begun = self._turns.begin(max_age)
        if recent.obstacle(connections[self.using]):
            return
        generation = self.current.generation
        try:
            with recent.connection_to(self.using) as connection:
                load = self._loader.load(connection, self.current.last, max_age)
        except Exception:  # whatever it is, the caller asks the database
            self._counters.failures += 1
            self._turns.fail(begun)
            if begun >= self._quiet_until:
                self._quiet_until = begun + max_age
                logger.warning(
                    "the recent entries can't be read: each check asks the database itself",
                    exc_info=True,
                    extra={"event": "snapshot_failed"},
                )
            return
        self._counters.loads += 1
        self.current.install(load, generation)
        # Loading takes a fifth of the time at most, and less if it comes too late to be of use.
        is_late = self._clocks.elapsed() - load.start.elapsed >= max_age
        self._turns.succeed(load.start.elapsed, times=20 if is_late else 4)
