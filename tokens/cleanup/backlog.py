"""Ask what waits for the cleanup, and when it worked last. Nothing here writes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min

from .. import blacklist, clock
from ..conf import conf, simplejwt
from ..models import BlacklistEntry, CleanupRun, TokenSession

# Counting stops here: the question must stay cheap even after months without a cleanup.
BACKLOG_LIMIT = 100_000

# The longest a schedule takes to notice that a run is due: the tick is hourly.
TICK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Group:
    """How many expired entries have this scope and reason."""

    scope: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would remove now, and what it would leave."""

    cutoff: datetime
    entries: list[Group]
    entries_expired: int
    sessions_expired: int
    oldest_expired: datetime | None
    entries_kept: int
    sessions_kept: int

    @property
    def expired(self) -> int:
        """How many entries and sessions would go."""
        return self.entries_expired + self.sessions_expired


@dataclass(frozen=True, slots=True)
class Status:
    """Whether the cleanup does its work. The names of the fields are stable: they are JSON keys.

    ``last_outcome`` and what follows it tell of the newest run. ``next_due`` is the present moment
    if it never succeeded. ``backlog`` counts the expired entries and sessions, up to BACKLOG_LIMIT.
    ``clock_difference`` is how many seconds this host's clock is ahead of the database's.
    """

    last_success: datetime | None
    last_outcome: str | None
    last_started_at: datetime | None
    last_host: str | None
    last_error: str | None
    next_due: datetime
    overdue: bool
    backlog: int
    oldest_expired: datetime | None
    clock_difference: float


def cutoff_at(now: datetime) -> datetime:
    """Return the moment before which what expired may go, if a run starts ``now``."""
    return now - simplejwt.LEEWAY - conf.TOKENS_CLEANUP_MARGIN - conf.TOKENS_RETENTION


def due_in(using: str, now: datetime, interval: timedelta | None = None) -> timedelta:
    """Return how long it is until a run is due; zero if it is.

    ``interval`` is TOKENS_CLEANUP_INTERVAL if it is not given.
    """
    success = CleanupRun.objects.using(using).last_success(now)
    if success is None or success.finished_at is None:
        return timedelta(0)
    return max(success.finished_at + (interval or conf.TOKENS_CLEANUP_INTERVAL) - now, timedelta(0))


def preview(using: str | None = None) -> Preview:
    """Return what a run would remove now. Counts whole tables: five statements."""
    using = using or blacklist.database()
    before = cutoff_at(clock.database_now(using))
    entries = BlacklistEntry.objects.using(using)
    sessions = TokenSession.objects.using(using)
    groups = entries.expired(before).values_list("scope", "reason").annotate(Count("pk"))
    groups = groups.order_by("scope", "reason")
    return Preview(
        cutoff=before,
        entries=(found := [Group(*group) for group in groups]),
        entries_expired=sum(group.count for group in found),
        sessions_expired=sessions.expired(before).count(),
        oldest_expired=oldest_expired(using, before),
        entries_kept=entries.filter(expires_at__gte=entries.end_before(before)).count(),
        sessions_kept=sessions.filter(expires_at__gte=sessions.end_before(before)).count(),
    )


def status(using: str | None = None) -> Status:
    """Return whether the cleanup keeps its schedule; cheap enough for a health check.

    At most seven statements, whatever the number of rows and runs.

    Only a success counts: a cleanup whose runs all stop early or fail is overdue as well. It is
    overdue when its last success is older than TOKENS_CLEANUP_INTERVAL and one tick. If it never
    succeeded, it is overdue once a row has been waiting for longer than a tick. So a fresh
    installation is not overdue, but one without a schedule soon is.
    """
    using = using or blacklist.database()
    now = clock.database_now(using)
    ahead = clock.now() - now
    before = cutoff_at(now)
    runs = CleanupRun.objects.using(using)
    success = runs.last_success(now)
    last = success.finished_at if success else None
    due = last + conf.TOKENS_CLEANUP_INTERVAL if last else now
    newest = runs.order_by("-pk").first()
    oldest = oldest_expired(using, before)
    late = due < now - TICK if last else oldest is not None and oldest < before - TICK
    return Status(
        last_success=last,
        last_outcome=str(newest.outcome_at(now)) if newest else None,
        last_started_at=newest.started_at if newest else None,
        last_host=newest.host if newest else None,
        last_error=(newest.error or None) if newest else None,
        next_due=due,
        overdue=late,
        backlog=count_expired(using, before) if oldest else 0,
        oldest_expired=oldest,
        clock_difference=ahead.total_seconds(),
    )


def oldest_expired(using: str, before: datetime) -> datetime | None:
    """Return when the oldest of the rows that may go was needed last, or None if none may go."""
    found: list[datetime] = []
    for model in (BlacklistEntry, TokenSession):
        rows = model.objects.using(using)
        oldest = rows.expired(before).aggregate(end=Min("expires_at"))["end"]
        if oldest is not None:
            found.append(oldest + (before - rows.end_before(before)))
    return min(found, default=None)


def count_expired(using: str, before: datetime, *, limit: int = BACKLOG_LIMIT) -> int:
    """Return how many rows may go at the cut-off ``before``, or ``limit`` if there are more."""
    found = 0
    for model in (BlacklistEntry, TokenSession):
        # The one column that an index has: counting need not read the rows themselves.
        expired = model.objects.using(using).expired(before).values("expires_at")
        found += expired[:limit].count()
    return min(found, limit)
