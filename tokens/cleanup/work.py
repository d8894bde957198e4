"""Remove what has expired: the one function that every command, schedule and button calls.

Only one run is at work at a time (see ``lease``). It deletes in small batches, each a transaction
of its own, so that it holds no lock for long, keeps what it has done when it is killed, and needs
the same memory for ten rows and ten million.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, Protocol

from django.db import Error

from .. import blacklist, clock, retry
from ..models import BlacklistEntry, CleanupRun, TokenSession
from ..querysets import ExpiringQuerySet
from . import batches, events, lease
from .backlog import cutoff_at, is_due, oldest_expired
from .batches import Batch, memory_for
from .pace import Others, Pace
from .report import CleanupReport

Outcome = CleanupRun.Outcome
SKIPPED = "skipped"

# Why a run did nothing, and why it stopped early.
NOT_DUE = "not due"
RUNNING_ELSEWHERE = "running elsewhere"
ASKED = "asked to stop"
OUT_OF_TIME = "out of time"
LEASE_LOST = "lease lost"

# Runs are kept for this long, and the newest success for ever.
HISTORY = timedelta(days=90)

_HEARTBEAT = 5.0


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

    ``if_due`` runs only if the last success is older than ``interval``, which is
    TOKENS_CLEANUP_INTERVAL if it is not given. A batch has ``batch_size`` rows, or as many as fit
    into TOKENS_CLEANUP_BATCH_SECONDS. Between batches it rests for ``pause`` seconds, or, if that
    is not given, while others use the database (see ``pace``). The run ends between two batches
    after ``max_seconds`` or when ``stop`` is set. ``progress`` is called with the number of rows
    after each batch.

    A database error that persists ends the run as "failed" and is in the report, whether or not
    that can be recorded. It is raised if the run can't even begin. Any other exception is recorded
    and raised.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError("batch_size must be at least 1.")
    using = using or blacklist.database()
    try:
        taken = _begin(using, trigger=trigger, if_due=if_due, interval=interval)
    except Error as error:
        events.unable(error, trigger=trigger, using=using)
        raise
    if isinstance(taken, CleanupReport):
        return taken
    work = _Work(
        taken,
        batch_size=batch_size,
        pause=pause,
        max_seconds=max_seconds,
        stop=stop or threading.Event(),
        progress=progress or (lambda _rows: None),
    )
    return work.run()


def _begin(
    using: str, *, trigger: str, if_due: bool, interval: timedelta | None
) -> lease.Lease | CleanupReport:
    """Return the lease, or the report of a run that has nothing to do."""
    now = clock.database_now(using)
    before = cutoff_at(now)  # Settings that have no meaning show before the lease is taken.
    due = partial(is_due, using, now, interval) if if_due else lambda: True
    taken = _take(using, trigger=trigger, due=due, now=now)
    if not isinstance(taken, str):
        return taken
    report = CleanupReport(SKIPPED, skipped=taken, started_at=now, cutoff=before, trigger=trigger)
    if taken == RUNNING_ELSEWHERE:
        events.skipped(report, using=using)
    return report


def _take(using: str, *, trigger: str, due: Callable[[], bool], now: datetime) -> lease.Lease | str:
    """Return the lease, or why this run has nothing to do."""
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
    # Another run has finished since the question was asked first.
    taken.cancel()
    return NOT_DUE


class _DeleteBatch(Protocol):
    def __call__(self, *, limit: int, reached: object) -> Batch: ...


class _Work:
    """A run under way."""

    def __init__(
        self,
        taken: lease.Lease,
        *,
        batch_size: int | None,
        pause: float | None,
        max_seconds: float | None,
        stop: threading.Event,
        progress: Callable[[int], object],
    ) -> None:
        self._lease, self._using = taken, taken.using
        others = Others(self._using)
        self._new_pace = partial(Pace, others, batch_size=batch_size, pause=pause)
        self._stop, self._progress = stop, progress
        self._stopped: str | None = None
        self._began = self._beat_at = monotonic()
        self._deadline = self._began + (float("inf") if max_seconds is None else max_seconds)
        self._cutoff = cutoff_at(taken.row.started_at)
        self._tables: dict[str, ExpiringQuerySet[Any]] = {
            "entries": BlacklistEntry.objects.using(self._using),
            "sessions": TokenSession.objects.using(self._using),
        }
        # The names are those of the report and of the row.
        self._counts: dict[str, Any] = {
            "entries_removed": 0,
            "sessions_removed": 0,
            "runs_removed": 0,
            "batches": 0,
            "longest_batch": 0.0,
        }

    def run(self) -> CleanupReport:
        """Delete until nothing is left or the run has to stop."""
        events.started(self._report(Outcome.RUNNING), using=self._using)
        runs = CleanupRun.objects.using(self._using)
        history = self._lease.row.started_at - HISTORY
        try:
            self._tell_if_slow()
            with memory_for(self._using):
                for count, rows in self._tables.items():
                    self._empty(f"{count}_removed", partial(batches.delete, rows, self._cutoff))
                self._empty("runs_removed", partial(batches.delete_runs, runs, history))
            outcome = Outcome.PARTIAL if self._leaves_rows() else Outcome.SUCCEEDED
        except Error as error:
            return self._end(Outcome.FAILED, error)
        except BaseException as error:
            self._end(Outcome.FAILED, error)
            raise
        return self._end(outcome)

    def _tell_if_slow(self) -> None:
        slow = [table for table, rows in self._tables.items() if batches.deletes_instances(rows)]
        if slow:
            events.slow(self._report(Outcome.RUNNING), using=self._using, tables=slow)

    def _leaves_rows(self) -> bool:
        """Return whether a run that had to stop leaves rows to the next one."""
        if self._stopped in (None, LEASE_LOST):
            return self._stopped == LEASE_LOST
        ask = partial(oldest_expired, self._using, self._cutoff)
        return retry.write(lambda _attempt: ask(), using=self._using) is not None

    def _end(self, outcome: str, error: BaseException | None = None) -> CleanupReport:
        """Record how the run ended, free the lease, tell the log and the listeners."""
        if error is not None:
            # First of all, because a database that is down can't record it.
            events.failing(self._report(outcome, error), error, using=self._using)
        report = self._report(outcome, error)
        try:
            held = self._record(report)
        except Error as unrecorded:
            report = self._report(Outcome.FAILED, error or unrecorded)
            if error is None:
                events.failing(report, unrecorded, using=self._using)
        else:
            if not held:
                self._stopped = LEASE_LOST
                outcome = Outcome.PARTIAL if outcome == Outcome.SUCCEEDED else outcome
                report = self._report(outcome, error)
        events.ended(report, using=self._using)
        return report

    def _record(self, report: CleanupReport) -> bool:
        """Save how the run ended and free the lease; return False if it was lost before."""
        return self._lease.release(
            report.outcome,
            error=report.error or "",
            **self._counts,
        )

    def _report(self, outcome: str, error: BaseException | None = None) -> CleanupReport:
        return CleanupReport(
            outcome=str(outcome),
            stopped=self._stopped if outcome == Outcome.PARTIAL else None,
            seconds=monotonic() - self._began,
            started_at=self._lease.row.started_at,
            cutoff=self._cutoff,
            error=retry.describe(error) if error else None,
            run_id=self._lease.row.pk,
            trigger=self._lease.row.trigger,
            **self._counts,
        )

    def _empty(self, count: str, delete_batch: _DeleteBatch) -> None:
        pace, reached = self._new_pace(), None
        while not self._must_stop():
            batch, size, seconds = self._batch(delete_batch, pace.size, reached)
            if batch.removed:
                self._counts[count] += batch.removed
                self._counts["batches"] += 1
                self._counts["longest_batch"] = max(self._counts["longest_batch"], seconds)
                table = count.removesuffix("_removed")
                events.batch_finished(
                    table, batch.removed, seconds, run_id=self._lease.row.pk, using=self._using
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
            began = monotonic()
            limit = max(1, size >> number)
            return delete_batch(limit=limit, reached=reached), limit, began

        batch, limit, began = retry.write(attempt, using=self._using, wait=self._stop.wait)
        return batch, limit, monotonic() - began

    def _must_stop(self) -> bool:
        if self._stopped is None:
            if self._stop.is_set():
                self._stopped = ASKED
            elif monotonic() >= self._deadline:
                self._stopped = OUT_OF_TIME
        return self._stopped is not None

    def _beat(self) -> None:
        if monotonic() - self._beat_at < _HEARTBEAT:
            return
        if not self._lease.keep(**self._counts):
            self._stopped = LEASE_LOST
        self._beat_at = monotonic()

    def _rest(self, seconds: float) -> None:
        until = min(monotonic() + seconds, self._deadline)
        while (seconds := until - monotonic()) > 0 and not self._must_stop():
            self._stop.wait(min(seconds, _HEARTBEAT))
            self._beat()
