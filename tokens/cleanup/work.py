"""Remove what has expired: the one function that every command, schedule and button calls.

Only one run is active at a time (see ``lease``). It deletes in small batches, each a transaction of
its own. So it holds no lock for long, keeps what it has done if it is killed, and needs the same
memory for ten rows and ten million.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import Error

from .. import blacklist, clock
from . import events, lease
from .attempts import Attempts
from .backlog import cutoff_at, due_in
from .limits import Limits, Stopped
from .removal import Outcome as Outcome
from .removal import Work
from .report import CleanupReport

SKIPPED = "skipped"

# Why a run did nothing.
NOT_DUE = "not due"
RUNNING_ELSEWHERE = "running elsewhere"


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
    ``pace``). It ends between two batches after ``max_seconds`` or when ``stop`` is set, and a
    second later if it waits for somebody else's lock. ``progress`` is called with the number of
    rows after each batch.

    A database error that persists ends the run as "failed" and is in the report, whether or not it
    can be recorded. It is raised if the run can't even begin. Any other exception is recorded and
    raised.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError("batch_size must be at least 1.")
    limits = Limits(stop=stop, max_seconds=max_seconds)
    begun = _begin(using or blacklist.database(), trigger, interval, limits, if_due=if_due)
    if isinstance(begun, CleanupReport):
        return begun
    taken, cutoff = begun
    return Work(
        taken,
        cutoff,
        limits=limits,
        batch_size=batch_size,
        pause=pause,
        progress=progress,
    ).run()


def _begin(
    using: str, trigger: str, interval: timedelta | None, limits: Limits, *, if_due: bool
) -> tuple[lease.Lease, datetime] | CleanupReport:
    """Return the lease and the cut-off, or the report of a run that has nothing to do."""
    taken: lease.Lease | str
    attempts, outcome = Attempts(using, limits), SKIPPED
    try:
        now = clock.database_now(using)
        cutoff = cutoff_at(now)  # A setting that has no meaning raises before the lease is taken.
        taken = take(
            using,
            trigger=trigger,
            now=now,
            due=lambda: not if_due or not attempts.read(lambda: due_in(using, now, interval)),
            attempts=attempts,
        )
    except Stopped:
        taken, outcome = limits.reason or "", Outcome.PARTIAL
    except Error as error:
        events.unable(error, trigger=trigger, using=using)
        raise
    if isinstance(taken, lease.Lease):
        return taken, cutoff
    report = CleanupReport(
        outcome,
        skipped=taken if outcome == SKIPPED else None,
        stopped=taken if outcome != SKIPPED else None,
        seconds=limits.seconds(),
        started_at=now,
        cutoff=cutoff,
        trigger=trigger,
    )
    if outcome != SKIPPED:
        events.ended(report, using=using)
    elif taken == RUNNING_ELSEWHERE:
        events.skipped(report, using=using)
    return report


def take(
    using: str,
    *,
    trigger: str,
    now: datetime,
    due: Callable[[], bool],
    attempts: Attempts | None = None,
) -> lease.Lease | str:
    """Return the lease, or why this run has nothing to do. Asks ``due`` before and after."""
    if not due():
        return NOT_DUE
    taken = lease.take(using=using, trigger=trigger, now=now, attempts=attempts)
    if taken is None:
        return RUNNING_ELSEWHERE
    try:
        if due():
            return taken
    except BaseException:
        with suppress(Error):  # the lease runs out by itself; what went wrong matters more
            taken.cancel()
        raise
    # Another run has finished since the first answer.
    taken.cancel()
    return NOT_DUE
