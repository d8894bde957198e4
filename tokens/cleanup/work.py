"""Remove what has expired: the one function that every command, schedule and button calls.

Only one run is active at a time (see ``lease``). It deletes in small batches, each a transaction of
its own. So it holds no lock for long, keeps what it has done if it is killed, and needs the same
memory for ten rows and ten million.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from django.db import Error, connections

from .. import blacklist, clock, databases, retry
from ..databases import Batch
from ..models import BlacklistEntry, CleanupRun, TokenSession
from ..querysets import ExpiringQuerySet
from . import batches, events, lease
from .backlog import cutoff_at, due_in, oldest_expired
from .limits import LEASE_LOST, Limits
from .pace import Others, Pace
from .report import CleanupReport, Counts, Table

Outcome = CleanupRun.Outcome
SKIPPED = "skipped"

# Why a run did nothing.
NOT_DUE = "not due"
RUNNING_ELSEWHERE = "running elsewhere"

# Runs are kept for this long, and the newest success for ever.
HISTORY = timedelta(days=90)

# Seconds between two signs of life.
HEARTBEAT = 5.0


def run(
    *,
    using: str | None = None,
    trigger: str = "command",
    if_due: bool = False,
    interval: timedelta | None = None,
    batch_size: int | None = None,
    pause: float | None = None,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[int], object] | None = None,
) -> CleanupReport:
    """Remove expired entries, expired sessions and old run records; return what was done.

    ``if_due`` runs only if the last success is older than ``interval`` (default:
    TOKENS_CLEANUP_INTERVAL). A batch has ``batch_size`` rows (default: as many as fit into
    TOKENS_CLEANUP_BATCH_SECONDS). Between batches the run rests for ``pause`` seconds (default: see
    ``pace``). It ends between two batches after ``max_seconds`` or when ``stop`` is set.
    ``progress`` is called with the number of rows after each batch.

    A database error that persists ends the run as "failed" and is in the report, whether or not it
    can be recorded. It is raised if the run can't even begin. Any other exception is recorded and
    raised.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError("batch_size must be at least 1.")
    begun = _begin(using or blacklist.database(), trigger, interval, if_due=if_due)
    if isinstance(begun, CleanupReport):
        return begun
    taken, cutoff = begun
    return Work(
        taken,
        cutoff,
        limits=Limits(stop=stop, max_seconds=max_seconds),
        batch_size=batch_size,
        pause=pause,
        progress=progress,
    ).run()


def _begin(
    using: str, trigger: str, interval: timedelta | None, *, if_due: bool
) -> tuple[lease.Lease, datetime] | CleanupReport:
    """Return the lease and the cut-off, or the report of a run that has nothing to do."""
    try:
        now = clock.database_now(using)
        cutoff = cutoff_at(now)  # A setting that has no meaning raises before the lease is taken.
        taken = take(
            using,
            trigger=trigger,
            now=now,
            due=lambda: not if_due or not due_in(using, now, interval),
        )
    except Error as error:
        events.unable(error, trigger=trigger, using=using)
        raise
    if not isinstance(taken, str):
        return taken, cutoff
    report = CleanupReport(SKIPPED, skipped=taken, started_at=now, cutoff=cutoff, trigger=trigger)
    if taken == RUNNING_ELSEWHERE:
        events.skipped(report, using=using)
    return report


def take(using: str, *, trigger: str, now: datetime, due: Callable[[], bool]) -> lease.Lease | str:
    """Return the lease, or why this run has nothing to do. Asks ``due`` before and after."""
    if not due():
        return NOT_DUE
    taken = lease.take(using=using, trigger=trigger, now=now)
    if taken is None:
        return RUNNING_ELSEWHERE
    try:
        if due():
            return taken
    except BaseException:
        taken.cancel()
        raise
    # Another run has finished since the first answer.
    taken.cancel()
    return NOT_DUE


class _DeleteBatch(Protocol):
    def __call__(self, *, limit: int, reached: object) -> Batch: ...


class Work:
    """A run under way. It has the lease, and gives it back at its end.

    ``heartbeat`` is how many seconds at most lie between two signs of life, if batches are short.
    """

    def __init__(
        self,
        taken: lease.Lease,
        cutoff: datetime,
        *,
        limits: Limits,
        batch_size: int | None = None,
        pause: float | None = None,
        progress: Callable[[int], object] | None = None,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._lease, self._using, self._cutoff = taken, taken.using, cutoff
        self._limits, self._counts = limits, Counts()
        self._new_pace = partial(Pace, Others(taken.using), batch_size=batch_size, pause=pause)
        self._progress = progress or (lambda _rows: None)
        self._heartbeat, self._beat_at = heartbeat, limits.seconds()

    def run(self) -> CleanupReport:
        """Delete until nothing is left or a limit is reached."""
        events.started(self._report(Outcome.RUNNING), using=self._using)
        try:
            self._delete_all()
            outcome = Outcome.PARTIAL if self._leaves_rows() else Outcome.SUCCEEDED
        except Error as error:
            return self._end(Outcome.FAILED, error)
        except BaseException as error:
            self._end(Outcome.FAILED, error)
            raise
        return self._end(outcome)

    def _delete_all(self) -> None:
        tables: dict[Table, ExpiringQuerySet[Any]] = {
            "entries": BlacklistEntry.objects.using(self._using),
            "sessions": TokenSession.objects.using(self._using),
        }
        slow: list[str] = [
            table for table, rows in tables.items() if batches.deletes_instances(rows)
        ]
        if slow:
            events.slow(self._report(Outcome.RUNNING), using=self._using, tables=slow)
        with databases.of(connections[self._using]).memory_for_batches():
            for table, rows in tables.items():
                self._delete_from(table, partial(batches.delete, rows, self._cutoff))
            runs = CleanupRun.objects.using(self._using)
            old = self._lease.row.started_at - HISTORY
            self._delete_from("runs", partial(batches.delete_runs, runs, old))

    def _delete_from(self, table: Table, delete_batch: _DeleteBatch) -> None:
        pace, reached = self._new_pace(), None
        while not self._limits.reached():
            batch, size, seconds = self._batch(delete_batch, pace.size, reached)
            if batch.removed:
                self._counts.add(table, batch.removed, seconds)
                run_id = self._lease.row.pk
                events.batch_finished(
                    table, batch.removed, seconds, run_id=run_id, using=self._using
                )
                self._progress(batch.removed)
            self._beat()
            if not batch.more:
                return
            reached = batch.reached or reached
            self._rest(pace.adapt(size, seconds))

    def _batch(
        self, delete_batch: _DeleteBatch, size: int, reached: object
    ) -> tuple[Batch, int, float]:
        """Return what went, of how many rows asked for, and the seconds of that attempt."""

        def attempt(number: int) -> tuple[Batch, int, float]:
            began = self._limits.seconds()
            limit = max(1, size >> number)
            return delete_batch(limit=limit, reached=reached), limit, began

        batch, limit, began = retry.write(attempt, using=self._using, wait=self._limits.wait)
        return batch, limit, self._limits.seconds() - began

    def _beat(self) -> None:
        if self._limits.seconds() - self._beat_at < self._heartbeat:
            return
        if not self._lease.keep(self._counts):
            self._limits.reason = LEASE_LOST
        self._beat_at = self._limits.seconds()

    def _rest(self, seconds: float) -> None:
        for _ in self._limits.rest(seconds, slices=self._heartbeat):
            self._beat()

    def _leaves_rows(self) -> bool:
        """Return whether a run that had to stop leaves rows to the next one."""
        if self._limits.reason in (None, LEASE_LOST):
            return self._limits.reason == LEASE_LOST
        ask = partial(oldest_expired, self._using, self._cutoff)
        return retry.write(lambda _attempt: ask(), using=self._using) is not None

    def _end(self, outcome: str, error: BaseException | None = None) -> CleanupReport:
        """Record how the run ended, free the lease, tell the log and the listeners."""
        report = self._report(outcome, error)
        if error is not None:
            # First of all, because a database that is down can't record it.
            events.failing(report, error, using=self._using)
        try:
            held = self._lease.release(outcome, counts=self._counts, error=report.error or "")
        except Error as unrecorded:
            report = self._report(Outcome.FAILED, error or unrecorded)
            if error is None:
                events.failing(report, unrecorded, using=self._using)
        else:
            if not held:
                self._limits.reason = LEASE_LOST
                outcome = Outcome.PARTIAL if outcome == Outcome.SUCCEEDED else outcome
                report = self._report(outcome, error)
        events.ended(report, using=self._using)
        return report

    def _report(self, outcome: str, error: BaseException | None = None) -> CleanupReport:
        return CleanupReport(
            outcome=str(outcome),
            stopped=self._limits.reason if outcome == Outcome.PARTIAL else None,
            seconds=self._limits.seconds(),
            started_at=self._lease.row.started_at,
            cutoff=self._cutoff,
            error=retry.describe(error) if error else None,
            run_id=self._lease.row.pk,
            trigger=self._lease.row.trigger,
            **asdict(self._counts),
        )
