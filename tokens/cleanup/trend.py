"""Does the cleanup keep up with what expires? Asked by ``backlog`` only. Nothing here writes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Max, Q, Sum

from ..models import CleanupRun
from ..querysets import RunQuerySet

# A run that was out of time counts what it leaves up to here: seconds of work at most.
LEFT_LIMIT = 10_000_000

_WINDOW = timedelta(days=7)
# Runs within an hour say nothing about a day.
_SHORTEST = timedelta(hours=1)
# Catching up that takes longer than this is none.
_LONGEST = timedelta(days=365)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The expired rows that wait now. ``capped`` if there are more than were counted."""

    rows: int
    capped: bool


@dataclass(frozen=True, slots=True)
class Rates:
    """How many rows go and come, to a tenth. None where too little is known."""

    removed_per_run: float | None = None
    removed_per_day: float | None = None
    added_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class Prospect:
    """Whether runs that end early will ever be done, and when."""

    falling_behind: bool = False
    catches_up_at: datetime | None = None


def rates(
    runs: RunQuerySet, last: CleanupRun | None, *, now: datetime, backlog: Backlog, due: timedelta
) -> Rates:
    """Return what the runs removed since the earliest success in a week, or since the ``last``.

    Nothing waited when that success began, so what has expired since is what was removed and what
    waits now. ``due`` is how far two runs should lie apart.
    """
    recent = runs.succeeded().filter(finished_at__range=(now - _WINDOW, now))
    recent = recent.order_by("finished_at")
    since = recent.first() or last
    if since is None or now - since.started_at < _SHORTEST:
        return Rates()
    later = runs.filter(pk__gt=since.pk)
    ended = later.exclude(outcome=CleanupRun.Outcome.RUNNING).aggregate(
        removed=_REMOVED, runs=Count("pk"), newest=Max("started_at")
    )
    # The time since the newest run counts only once the next one is due.
    until = max(filter(None, (ended["newest"], now - due)))
    return Rates(
        removed_per_run=round(ended["removed"] / ended["runs"], 1) if ended["runs"] else None,
        removed_per_day=_per_day(ended["removed"], until - since.started_at),
        added_per_day=_added_per_day(later, since, now=now, backlog=backlog),
    )


_REMOVED = Sum(F("entries_removed") + F("sessions_removed"), default=0)


def _added_per_day(
    later: RunQuerySet, since: CleanupRun, *, now: datetime, backlog: Backlog
) -> float | None:
    """Return how many rows expire in a day: at least so many, if more wait than are ever counted.

    Where the backlog is too large to be counted, the newest run that knows what it left has the
    number for the time until then.
    """
    left, until = backlog.rows, now
    if backlog.capped:
        counted = Q(outcome=CleanupRun.Outcome.SUCCEEDED) | Q(rows_left__lt=LEFT_LIMIT)
        newest = later.filter(counted).order_by("-pk").first()
        if newest is not None and newest.started_at - since.started_at >= _SHORTEST:
            left, until = newest.rows_left or 0, newest.started_at
            later = later.filter(pk__lte=newest.pk)
    removed: int = later.aggregate(removed=_REMOVED)["removed"]
    return _per_day(removed + left, until - since.started_at)


def _per_day(rows: int, span: timedelta) -> float | None:
    return round(rows / (span / _DAY), 1) if span >= _SHORTEST else None


def prospect(
    runs: RunQuerySet, last: CleanupRun | None, *, now: datetime, kept: timedelta
) -> Prospect:
    """Compare what the oldest and the newest run left that ended early since the ``last`` success.

    It falls behind if neither the number of rows that were left shrank, nor their age beyond the
    time for which rows are ``kept``. Either alone would mislead: in the middle of a spike the
    oldest row gets older although fewer wait, and a backlog of years is too large to be counted.
    """
    # A run that failed says nothing about the speed.
    early = runs.filter(outcome=CleanupRun.Outcome.PARTIAL, oldest_left__isnull=False)
    early = early.filter(started_at__range=(now - _WINDOW, now))
    if last is not None:
        early = early.filter(pk__gt=last.pk)
    first, newest = early.order_by("started_at").first(), early.order_by("-started_at").first()
    if first is None or newest is None or newest.started_at - first.started_at < _SHORTEST:
        return Prospect()
    until = _gone_at(first, newest, first.rows_left, newest.rows_left)
    until = until or _gone_at(first, newest, _lag(first, kept), _lag(newest, kept))
    if until is None:
        return Prospect(falling_behind=True)
    return Prospect(catches_up_at=until if until > now else None)


def _lag(run: CleanupRun, kept: timedelta) -> float:
    """Return the seconds for which the oldest row that the run left should have been gone."""
    assert run.oldest_left is not None
    return (run.started_at - kept - run.oldest_left).total_seconds()


def _gone_at(
    first: CleanupRun, newest: CleanupRun, before: float | None, after: float | None
) -> datetime | None:
    """Return when nothing is left of what went from ``before`` to ``after``, None if never."""
    if before is None or after is None or after >= before:
        return None
    took = (newest.started_at - first.started_at).total_seconds()
    seconds = took * after / (before - after)
    within = 0 <= seconds <= _LONGEST.total_seconds()
    return newest.started_at + timedelta(seconds=seconds) if within else None
