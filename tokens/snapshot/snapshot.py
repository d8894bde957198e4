"""What checks read: the recent entries of one database, as a load found them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..claims import Claims
from ..conf import simplejwt
from .clocks import Start
from .keyset import KeySet

_Edge = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Base:
    """All recent entries, as they were read once; ``seconds`` is how long reading them took."""

    keys: KeySet
    since: datetime
    start: Start
    seconds: float

    def floor(self, start: Start, slack: float) -> datetime:
        """Return from which moment on a load that begins at ``start`` must read to complete this.

        Whatever was committed after the base had been read was made no earlier. If the wall clock
        was set back meanwhile, the floor moves back as well.
        """
        began = min(self.start.wall, start.wall - (start.elapsed - self.start.elapsed))
        return datetime.fromtimestamp(began - slack, UTC)


@dataclass(frozen=True, slots=True)
class Load:
    """What one load found: a base, and what was made since if the base is older than ``start``."""

    base: Base
    newer: KeySet | None
    start: Start


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The entries as they were at ``start``, beside this process's own revocations since then.

    Immutable but for ``own``, to which revocations are only ever added.
    """

    start: Start
    _sets: tuple[KeySet, ...]
    _own: Mapping[int, float]
    # A token is covered if it was issued and expires no earlier than this.
    _aware: _Edge
    _naive: _Edge

    @classmethod
    def of(cls, load: Load, own: Mapping[int, float], *, slack: float) -> "Snapshot":
        base = load.base
        issued = base.since + timedelta(seconds=slack)
        expires = issued + simplejwt.ACCESS_TOKEN_LIFETIME
        return cls(
            start=load.start,
            _sets=(base.keys,) if load.newer is None else (base.keys, load.newer),
            _own=own,
            _aware=(issued, expires),
            _naive=(issued.replace(tzinfo=None), expires.replace(tzinfo=None)),
        )

    def covers(self, claims: Claims) -> bool:
        """Return whether every entry that may refuse this token is recent enough to be here.

        A token counts as issued one ACCESS_TOKEN_LIFETIME before it expires, if that is earlier:
        an access token's lifetime starts when its refresh token was verified.
        """
        issued, expires = self._naive if claims.issued_at.tzinfo is None else self._aware
        return claims.issued_at >= issued and claims.expires_at >= expires

    def holds_any(self, fingerprints: tuple[int, ...]) -> bool:
        """Return whether an entry with one of these fingerprints is here."""
        for keys in self._sets:
            if not keys.isdisjoint(fingerprints):
                return True
        return bool(self._own) and not self._own.keys().isdisjoint(fingerprints)

    @property
    def size(self) -> int:
        return sum(map(len, self._sets))
