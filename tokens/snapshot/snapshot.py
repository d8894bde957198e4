"""What checks read: the recent entries of one database, as a load found them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..claims import Claims
from ..conf import simplejwt
from ..keys import fingerprints_of
from .clocks import Start
from .keyset import KeySet
from .recent import Part, RecentEntries


@dataclass(frozen=True, slots=True)
class Load:
    """What one load read, and older parts that were read before. The newest part comes first."""

    start: Start
    read: RecentEntries
    kept: tuple[Part, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.read.parts, *self.kept)

    @property
    def ahead(self) -> float:
        """By how many seconds this host's clock was ahead of the database's, about."""
        return self.start.wall - self.read.now.timestamp()


@dataclass(frozen=True, slots=True)
class _Edge:
    """The first moments at which a token may have been issued, and may expire, to be covered."""

    issued: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class _Part:
    """Entries, and the tokens that only these and newer ones may refuse: aware and naive."""

    keys: KeySet
    is_kept: bool
    aware: _Edge
    naive: _Edge

    @classmethod
    def of(cls, part: Part, *, slack: timedelta, is_kept: bool) -> "_Part":
        issued = part.since + slack
        expires = issued + simplejwt.ACCESS_TOKEN_LIFETIME
        return cls(
            keys=part.keys,
            is_kept=is_kept,
            aware=_Edge(issued, expires),
            naive=_Edge(issued.replace(tzinfo=None), expires.replace(tzinfo=None)),
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The entries as they were at ``start``, beside this process's own revocations since then.

    Immutable but for ``own``, to which revocations are only ever added.
    """

    start: Start
    size: int
    _parts: tuple[_Part, ...]
    _own: Mapping[int, float]

    @classmethod
    def of(cls, load: Load, own: Mapping[int, float], *, slack: float) -> "Snapshot":
        # A token says by its host's clock when it was issued, and a part begins by the database's.
        number, span = len(load.read.parts), timedelta(seconds=slack + max(load.ahead, 0))
        return cls(
            start=load.start,
            size=sum(len(part.keys) for part in load.parts),
            _parts=tuple(
                _Part.of(part, slack=span, is_kept=place >= number)
                for place, part in enumerate(load.parts)
            ),
            _own=own,
        )

    def refuses(self, claims: Claims) -> bool | None:
        """Return whether an entry refuses a token, or None if that is unknown.

        It is if the token was issued so early that an entry that is not here may refuse it. It
        counts as issued one ACCESS_TOKEN_LIFETIME before it expires, if that is earlier: an access
        token's lifetime starts when its refresh token was verified. It is also unknown whether an
        entry is still there that an earlier load has read.
        """
        fingerprints = fingerprints_of(claims.sid or "", claims.jti, claims.issuer)
        if self._own and not self._own.keys().isdisjoint(fingerprints):
            return True
        issued, expires = claims.issued_at, claims.expires_at
        is_naive = issued.tzinfo is None
        for part in self._parts:
            if not part.keys.isdisjoint(fingerprints):
                return None if part.is_kept else True
            edge = part.naive if is_naive else part.aware
            if issued >= edge.issued and expires >= edge.expires:
                return False
        return None
