"""The lease: one cleanup at a time, whatever the number of hosts.

The running row of ``CleanupRun`` fills the unique ``slot``, so the insert is the decision. Every
moment in that table comes from the database's clock: two hosts' clocks are never compared.
"""

import socket
from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import IntegrityError

from .. import clock
from ..models import CleanupRun
from ..querysets import RunQuerySet
from .attempts import Attempts
from .report import Counts

_SLOT = 1
# Several, because runs that find themselves not due come and go quickly.
_ATTEMPTS = 10


def at_work(using: str) -> CleanupRun | None:
    """Return the run that fills the slot, or None if there is none. One statement."""
    return CleanupRun.objects.using(using).filter(slot=_SLOT).first()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to clean up, as long as the row fills the slot."""

    row: CleanupRun
    attempts: Attempts

    @property
    def using(self) -> str:
        """The alias of the database."""
        return self.attempts.using

    def keep(self, counts: Counts) -> bool:
        """Save the counts and a heartbeat; return False if another run has taken over.

        Raises the database's error; the next heartbeat may do better.
        """

        def beat(_attempt: int) -> int:
            now = clock.database_now(self.using)
            return self._held().update(heartbeat_at=now, **asdict(counts))

        return bool(self.attempts.once(beat))

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

        return self.attempts.finish(end)

    def cancel(self) -> None:
        """Give the lease back as if it had never been taken."""
        self.attempts.finish(lambda _attempt: self._held().delete())

    def _held(self) -> RunQuerySet:
        return _runs(self.using).filter(pk=self.row.pk, slot=_SLOT)


def take(
    *, using: str, trigger: str, now: datetime, attempts: Attempts | None = None
) -> Lease | None:
    """Return the lease, or None if another run has it. A dead run is marked as abandoned.

    Raises Stopped if the limits of ``attempts`` are reached while it waits for a lock.
    """
    attempts = attempts or Attempts(using)
    for number in range(1, _ATTEMPTS + 1):
        # Ask first: a failed insert would show up in the database's log.
        holder = attempts.read(lambda: _runs(using).filter(slot=_SLOT).first())
        if holder is not None and not _abandoned(holder, attempts, now=now):
            return None
        row = CleanupRun(
            started_at=now,
            heartbeat_at=now,
            trigger=trigger[:32],
            host=socket.gethostname()[:255],
            slot=_SLOT,
        )
        try:
            _insert(row, attempts)
        except IntegrityError:
            # Another run was faster. If no other run holds the slot and the insert still fails,
            # something else is wrong: raise instead of reporting a skipped run.
            if number == _ATTEMPTS:
                raise
        else:
            return Lease(row, attempts)
    return None


def _insert(row: CleanupRun, attempts: Attempts) -> None:
    def insert(attempt: int) -> None:
        # The answer to the last attempt's commit may have been lost on its way to us.
        if attempt and _same(row, attempts.using).exists():
            return
        row.pk = None
        row.save(force_insert=True, using=attempts.using)

    attempts.write(insert)


def _same(row: CleanupRun, using: str) -> RunQuerySet:
    """Return the row as it was saved: some databases give the key of an undone insert again."""
    return _runs(using).filter(pk=row.pk, slot=_SLOT, host=row.host, started_at=row.started_at)


def _abandoned(holder: CleanupRun, attempts: Attempts, *, now: datetime) -> bool:
    """Return whether the holder is dead and this call was the one that took the slot from it."""
    if holder.is_alive(now):
        return False
    rows = _runs(attempts.using)
    dead = rows.filter(pk=holder.pk, slot=_SLOT, heartbeat_at=holder.heartbeat_at)
    outcome = CleanupRun.Outcome.ABANDONED
    return bool(attempts.write(lambda _: dead.update(slot=None, outcome=outcome)))


def _runs(using: str) -> RunQuerySet:
    return CleanupRun.objects.using(using)
