"""The lease: one cleanup at a time, whatever the number of hosts.

The running row of ``CleanupRun`` fills the unique ``slot``, so the insert is the decision. Every
moment in that table comes from the database's clock: two hosts' clocks are never compared.
"""

import socket
from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import IntegrityError

from .. import clock, retry
from ..models import CleanupRun
from ..querysets import RunQuerySet
from .report import Counts

_SLOT = 1
# Several, because runs that find themselves not due come and go quickly.
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to clean up, as long as the row fills the slot."""

    row: CleanupRun
    using: str

    def keep(self, counts: Counts) -> bool:
        """Save the counts and a heartbeat; return False if another run has taken over."""

        def beat(_attempt: int) -> int:
            now = clock.database_now(self.using)
            return self._held().update(heartbeat_at=now, **asdict(counts))

        return bool(retry.write(beat, using=self.using))

    def release(self, outcome: str, *, counts: Counts, error: str = "") -> bool:
        """Save how the run ended and free the slot; return False if it was lost before.

        A run that lost its slot stays marked as abandoned, with what it really removed.
        """

        def end(_attempt: int) -> bool:
            now = clock.database_now(self.using)
            held = self._held().update(
                slot=None,
                outcome=outcome,
                error=error,
                heartbeat_at=now,
                finished_at=now,
                **asdict(counts),
            )
            if held:
                return True
            row = _runs(self.using).filter(pk=self.row.pk)
            row.update(**asdict(counts))
            # A run that takes over writes "abandoned". So if the row has our outcome, an earlier
            # attempt wrote it, and we missed the answer to its commit.
            return row.filter(outcome=outcome).exists()

        return retry.write(end, using=self.using)

    def cancel(self) -> None:
        """Give the lease back as if it had never been taken."""
        retry.write(lambda _attempt: self._held().delete(), using=self.using)

    def _held(self) -> RunQuerySet:
        return _runs(self.using).filter(pk=self.row.pk, slot=_SLOT)


def take(*, using: str, trigger: str, now: datetime) -> Lease | None:
    """Return the lease, or None if another run has it. A dead run is marked as abandoned."""
    for attempt in range(1, _ATTEMPTS + 1):
        # Ask first: a failed insert would show up in the database's log.
        holder = _runs(using).filter(slot=_SLOT).first()
        if holder is not None and not _abandoned(holder, using=using, now=now):
            return None
        row = CleanupRun(
            started_at=now,
            heartbeat_at=now,
            trigger=trigger[:32],
            host=socket.gethostname()[:255],
            slot=_SLOT,
        )
        try:
            _insert(row, using)
        except IntegrityError:
            # Another run was faster. If no other run holds the slot and the insert still fails,
            # something else is wrong: raise instead of reporting a skipped run.
            if attempt == _ATTEMPTS:
                raise
        else:
            return Lease(row, using)
    return None


def _insert(row: CleanupRun, using: str) -> None:
    def insert(attempt: int) -> None:
        # The answer to the last attempt's commit may have been lost on its way to us.
        if attempt and _same(row, using).exists():
            return
        row.pk = None
        row.save(force_insert=True, using=using)

    retry.write(insert, using=using)


def _same(row: CleanupRun, using: str) -> RunQuerySet:
    """Return the row as it was saved: some databases give the key of an undone insert again."""
    return _runs(using).filter(pk=row.pk, slot=_SLOT, host=row.host, started_at=row.started_at)


def _abandoned(holder: CleanupRun, *, using: str, now: datetime) -> bool:
    """Return whether the holder is dead and this call was the one that took the slot from it."""
    if holder.is_alive(now):
        return False
    dead = _runs(using).filter(pk=holder.pk, slot=_SLOT, heartbeat_at=holder.heartbeat_at)
    outcome = CleanupRun.Outcome.ABANDONED
    return bool(retry.write(lambda _: dead.update(slot=None, outcome=outcome), using=using))


def _runs(using: str) -> RunQuerySet:
    return CleanupRun.objects.using(using)
