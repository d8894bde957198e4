"""Reading what a snapshot is made of: all recent entries, or what was made since the last load.

Moments are drawn before a transaction commits, so a reader that goes on from the last row it saw
misses late commits. Ours goes back from when it last read, by as much as an entry may be committed
after the moment it has (``Limits.patience``). All entries have moments of the database's clock.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db.backends.base.base import BaseDatabaseWrapper

from .. import databases
from ..conf import simplejwt
from .clocks import Clocks, Start
from .keyset import KeySet
from .limits import Limits
from .recent import Part, RecentEntries
from .snapshot import Load

Read = Callable[[BaseDatabaseWrapper, datetime, Limits], RecentEntries]


class Loader:
    """Loads from a connection; remembers nothing."""

    def __init__(self, limits: Limits, clocks: Clocks, read: Read) -> None:
        self._limits, self._clocks, self._read = limits, clocks, read

    def load(self, connection: BaseDatabaseWrapper, last: Load | None, max_age: float) -> Load:
        """Return what a snapshot is made of that may get ``max_age`` seconds old.

        ``last`` is the load before. If this one reads so much that it is too old to be of use, it
        goes on with what was made meanwhile.
        """
        load = self._load(connection, last, max_age)
        if self._is_long(load) and self._clocks.elapsed() - load.start.elapsed > max_age / 4:
            load = self._load(connection, load, max_age)
        return load

    def _load(self, connection: BaseDatabaseWrapper, last: Load | None, max_age: float) -> Load:
        """Read all entries that may refuse an access token made in the usual way, or the newest."""
        connection.ensure_connection()  # so that the clocks are read at the same moment
        overlap = self.overlap(connection)
        kept, since = self._keep(last, overlap, max_age)
        start = Start(self._clocks)
        read = self._read(connection, since, self._limits)
        if last and kept and _is_set_back(last, read, start, overlap):
            return self._load(connection, None, max_age)
        if read.since > since:  # so many that they leave no room for older ones
            kept = ()
        load = Load(start, read, kept)
        if last is None and load.ahead > self._limits.slack() + 1:
            return self._load(connection, load, max_age)  # from an earlier moment on
        return load

    def _keep(
        self, last: Load | None, overlap: timedelta, max_age: float
    ) -> tuple[tuple[Part, ...], datetime]:
        """Return the parts that need not be read again, and from when on all else must be.

        If ``last`` has read many entries, and most of them so old that none was missed, they are
        kept.
        """
        oldest = self._oldest(last, max_age)
        if last is None:
            return (), oldest
        complete_until = last.read.now - overlap
        if self._is_long(last) and complete_until - last.read.since >= overlap:
            kept, since = self._joined(last), complete_until
        else:  # the latter is earlier only if the database's clock was set back a little
            kept, since = last.kept, min(last.read.since, complete_until)
        while kept:
            newer = kept[-2].since if len(kept) > 1 else since
            if newer > oldest and sum(len(part.keys) for part in kept) <= self._limits.entries:
                return kept, since
            kept = kept[:-1]
        return (), oldest

    def _joined(self, last: Load) -> tuple[Part, ...]:
        """Return all parts, the two newest as one if they are small: a check looks into each."""
        newest, *others = last.parts
        if others and len(newest.keys) + len(others[0].keys) <= self._limits.part:
            return Part(KeySet((), newest.keys, others[0].keys), others[0].since), *others[1:]
        return newest, *others

    def _is_long(self, load: Load) -> bool:
        return sum(len(part.keys) for part in load.read.parts) > self._limits.slice

    def overlap(self, connection: BaseDatabaseWrapper) -> timedelta:
        """Return how long after its own moment an entry may be committed at most.

        If several servers write, the moment may be of another server's clock.
        """
        seconds = self._limits.patience
        if databases.of(connection).has_other_writers():
            seconds += self._limits.slack()
        return timedelta(seconds=seconds)

    def _oldest(self, last: Load | None, max_age: float) -> datetime:
        """Return since when entries are of interest, by the database's clock, if that is known."""
        seconds = (simplejwt.ACCESS_TOKEN_LIFETIME + simplejwt.LEEWAY).total_seconds()
        reach = seconds + max_age + 2 * self._limits.slack()
        ahead = max(last.ahead, 0.0) if last else 0.0
        return datetime.fromtimestamp(self._clocks.wall() - ahead - reach, UTC)


def _is_set_back(last: Load, read: RecentEntries, start: Start, overlap: timedelta) -> bool:
    """Return whether the database's clock lost so much since ``last`` that entries may be missed.

    It was set, or another server has taken over. A transaction may be open for half of ``overlap``
    unnoticed, so the other half is left for the clock.
    """
    passed = timedelta(seconds=start.elapsed - last.start.elapsed)
    return read.now - last.read.now < passed - overlap / 2
