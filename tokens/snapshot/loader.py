"""Reading what a snapshot is made of: all recent entries, or only what was made since."""

from collections.abc import Callable
from datetime import UTC, datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import simplejwt
from .clocks import Clocks, Start
from .keyset import KeySet
from .limits import Limits
from .recent import RecentEntries
from .snapshot import Base, Load

Read = Callable[[BaseDatabaseWrapper, datetime, Limits], RecentEntries]


class Loader:
    """Loads from a connection; keeps nothing."""

    def __init__(self, limits: Limits, clocks: Clocks, read: Read) -> None:
        self._limits, self._clocks, self._read = limits, clocks, read

    def load(self, connection: BaseDatabaseWrapper, base: Base | None, max_age: float) -> Load:
        """Return what a snapshot is made of that may get ``max_age`` seconds old.

        Reads all recent entries if there is no ``base`` or it is time to. If that takes more than
        a quarter of ``max_age``, reads once more what was made meanwhile.
        """
        start = Start(self._clocks)
        if base is None or self._is_due(base):
            base = self._whole(connection, start, max_age)
            if base.seconds <= max_age / 4:
                return Load(base, None, start)
            start = Start(self._clocks)
        floor = base.floor(start, self._limits.slack())
        young = self._read(connection, floor, self._limits)
        if young.since > floor:  # so many that they leave no room for older ones
            return Load(self._base(young, start), None, start)
        return Load(base, KeySet(young.fingerprints), start)

    def _is_due(self, base: Base) -> bool:
        age = self._clocks.elapsed() - base.start.elapsed
        return age >= self._limits.whole_every * base.seconds

    def _whole(self, connection: BaseDatabaseWrapper, start: Start, max_age: float) -> Base:
        """Read all entries that may refuse an access token that was made in the usual way."""
        seconds = (simplejwt.ACCESS_TOKEN_LIFETIME + simplejwt.LEEWAY).total_seconds()
        oldest = start.wall - seconds - max_age - 2 * self._limits.slack()
        since = datetime.fromtimestamp(oldest, UTC)
        return self._base(self._read(connection, since, self._limits), start)

    def _base(self, read: RecentEntries, start: Start) -> Base:
        keys = KeySet(read.fingerprints)
        return Base(keys, read.since, start, self._clocks.elapsed() - start.elapsed)
