"""A run under way: delete batch after batch, and record how it ended."""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from django.db import Error, connections

from .. import databases, retry
from ..databases import Batch, Position
from ..models import BlacklistEntry, CleanupRun, TokenSession
from ..querysets import ExpiringQuerySet
from . import batches, events, lease
from .attempts import Attempts
from .backlog import oldest_expired
from .limits import LEASE_LOST, Limits, Stopped
from .pace import Others, Pace
from .report import CleanupReport, Counts, Table

Outcome = CleanupRun.Outcome

# Runs are kept for this long, and the newest success for ever.
HISTORY = timedelta(days=90)

# Seconds between two signs of life.
HEARTBEAT = 5.0

# Seconds that a question may take: in which order to go, and whether a run that had to stop leaves
# rows.
_ASK_SECONDS = 1.0


class _DeleteBatch(Protocol):
    def __call__(self, *, limit: int, reached: Position | None) -> Batch: ...


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
        self._attempts = Attempts(taken.using, limits)
        self._lease = replace(taken, attempts=self._attempts)
        self._using, self._cutoff = taken.using, cutoff
        self._limits, self._counts = limits, Counts()
        others = Others(taken.using)
        self._new_pace = partial(Pace, others, batch_size=batch_size, pause=pause)
        self._progress = progress or (lambda _rows: None)
        self._heartbeat = heartbeat
        self._beat_at = self._heard_at = limits.seconds()
        self._attempts.begun, self._attempts.meanwhile = others.note_our_own, self._beat

    def run(self) -> CleanupReport:
        """Delete until nothing is left or a limit is reached."""
        events.started(self._report(Outcome.RUNNING), using=self._using)
        try:
            self._delete_all()
            outcome = Outcome.PARTIAL if self._leaves_rows() else Outcome.SUCCEEDED
        except Stopped:
            outcome = Outcome.PARTIAL
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
                if (start := self._first(table, rows)) is not None:
                    self._delete_from(table, partial(batches.delete, rows, self._cutoff), start)
            runs = CleanupRun.objects.using(self._using)
            old = self._lease.row.started_at - HISTORY
            self._delete_from("runs", partial(batches.delete_runs, runs, old))

    def _first(self, table: Table, rows: ExpiringQuerySet[Any]) -> Position | None:
        """Return where the first batch of a table starts, None if the run has to stop before.

        The index is never wrong, so a question that fails or takes too long is no failure.
        """
        if self._limits.reached():
            return None
        connection = connections[self._using]
        try:
            with databases.of(connection).asking(_ASK_SECONDS):
                self._attempts.begun()
                start = batches.first(rows, self._cutoff)
        except Error:
            connection.close_if_unusable_or_obsolete()
            start = Position()
        self._counts.go_by(table, str(start.order))
        return start

    def _delete_from(
        self, table: Table, delete_batch: _DeleteBatch, reached: Position | None = None
    ) -> None:
        pace = self._new_pace()
        while not self._limits.reached():
            try:
                batch, size, seconds = self._batch(delete_batch, pace, reached, table)
            except Exception as error:
                if table != "runs" or isinstance(error, Stopped):
                    raise
                # The records of old runs are in nobody's way, and the next run tries again.
                events.untrimmed(self._report(Outcome.RUNNING), error, using=self._using)
                return
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
            self._rest(pace.adapt(size, seconds, removed=batch.removed))

    def _batch(
        self, delete_batch: _DeleteBatch, pace: Pace, reached: Position | None, table: Table
    ) -> tuple[Batch, int, float]:
        """Return what went, of how many rows asked for, and the seconds of that attempt."""

        def attempt(number: int) -> tuple[Batch, int, float]:
            began = self._limits.seconds()
            limit = max(1, pace.size >> number)
            start = reached and reached._replace(exact=pace.is_exact)
            return delete_batch(limit=limit, reached=start), limit, began

        self._attempts.failures.clear()
        write = self._attempts.once if table == "runs" else self._attempts.write
        batch, limit, began = write(attempt)
        seconds = self._limits.seconds() - began
        if self._attempts.were_refused():
            # Nor in the other table: such a limit is one of the server.
            self._new_pace = partial(self._new_pace, most=limit)
            pace.never_exceed(limit)
        return batch, limit, seconds

    def _beat(self) -> None:
        """Give a sign of life if it is time to. One that fails is made up for by the next.

        Raises the database's error once the lease is about to run out.
        """
        now = self._limits.seconds()
        if now - self._beat_at < self._heartbeat:
            return
        self._beat_at = now
        try:
            if not self._lease.keep(self._counts):
                self._limits.reason = LEASE_LOST
        except Error as error:
            if self._limits.seconds() - self._heard_at > CleanupRun.LEASE.total_seconds() / 2:
                raise
            events.unheard(self._report(Outcome.RUNNING), error, using=self._using)
        else:
            self._heard_at = now

    def _rest(self, seconds: float) -> None:
        for _ in self._limits.rest(seconds, slices=self._heartbeat):
            self._beat()

    def _leaves_rows(self) -> bool:
        """Return whether a run that had to stop leaves rows, or may leave rows, to the next one."""
        if self._limits.reason in (None, LEASE_LOST):
            return self._limits.reason == LEASE_LOST
        try:
            with databases.of(connections[self._using]).asking(_ASK_SECONDS):
                return oldest_expired(self._using, self._cutoff) is not None
        except Error:
            return True

    def _end(self, outcome: str, error: BaseException | None = None) -> CleanupReport:
        """Record how the run ended, free the lease, tell the log and the listeners."""
        report = self._report(outcome, error)
        if error is not None:
            # First of all, because a database that is down can't record it.
            events.failing(report, error, using=self._using)
        try:
            held = self._lease.release(outcome, counts=self._counts, error=report.error or "")
        except Error as unrecorded:
            report = self._unrecorded(unrecorded, error)
        else:
            if not held:
                self._limits.reason = LEASE_LOST
                outcome = Outcome.PARTIAL if outcome == Outcome.SUCCEEDED else outcome
                report = self._report(outcome, error)
        events.ended(report, using=self._using)
        return report

    def _unrecorded(self, unrecorded: Error, error: BaseException | None) -> CleanupReport:
        """Tell that the end could not be recorded; return the report."""
        if error is not None:
            return self._report(Outcome.FAILED, error)
        locked = databases.of(connections[self._using]).ran_into_lock(unrecorded)
        if locked and self._limits.reached():
            # Whoever has to stop waits for no lock. That is no failure.
            report = self._report(Outcome.PARTIAL, unrecorded)
            events.unrecorded(report, unrecorded, using=self._using)
        else:
            report = self._report(Outcome.FAILED, unrecorded)
            events.failing(report, unrecorded, using=self._using)
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
