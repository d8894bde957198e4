"""Ask what waits for the cleanup, and when it worked last. Nothing here writes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import Count, Min, QuerySet

from .. import blacklist, clock, databases
from ..conf import conf, simplejwt
from ..databases import Counted, Questions
from ..models import BlacklistEntry, CleanupRun, TokenSession

# Counting stops here: the question must stay cheap even after months without a cleanup.
BACKLOG_LIMIT = 100_000

# Seconds that all statements of a status, or of a preview, may take. What is not known by then is
# left open: it only informs.
STATUS_SECONDS, PREVIEW_SECONDS = 2.0, 10.0

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
    """What a run would remove now, and what it would leave.

    Each ``…_at_least`` says whether counting took too long: there are that many rows, or more. If
    counting the entries did, ``entries`` is empty.
    """

    cutoff: datetime
    entries: list[Group]
    entries_expired: int
    entries_expired_at_least: bool
    sessions_expired: int
    sessions_expired_at_least: bool
    oldest_expired: datetime | None
    entries_kept: int
    entries_kept_at_least: bool
    sessions_kept: int
    sessions_kept_at_least: bool

    @property
    def expired(self) -> int:
        """How many entries and sessions would go, at least."""
        return self.entries_expired + self.sessions_expired


@dataclass(frozen=True, slots=True)
class Status:
    """Whether the cleanup does its work. The names of the fields are stable: they are JSON keys.

    ``last_outcome`` and what follows it tell of the newest run. ``next_due`` is the present moment
    if it never succeeded. ``backlog`` counts the expired entries and sessions, up to BACKLOG_LIMIT.
    ``backlog_at_least`` says whether there may be more: because of that limit, or because counting
    took too long. ``oldest_expired`` is also None if finding it took too long; then the backlog is
    0 at least. ``clock_difference`` is how many seconds this host's clock is ahead of the
    database's.
    """

    last_success: datetime | None
    last_outcome: str | None
    last_started_at: datetime | None
    last_host: str | None
    last_error: str | None
    next_due: datetime
    overdue: bool
    backlog: int
    backlog_at_least: bool
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


def preview(using: str | None = None, *, seconds: float = PREVIEW_SECONDS) -> Preview:
    """Return what a run would remove now.

    Counts whole tables, in five statements. What takes longer than ``seconds`` is counted up to
    BACKLOG_LIMIT.
    """
    using = using or blacklist.database()
    before = cutoff_at(clock.database_now(using))
    entries = BlacklistEntry.objects.using(using)
    sessions = TokenSession.objects.using(using)
    exactly = databases.questions(using, seconds=seconds)
    count = partial(_count, exactly)
    # Of all these questions the quickest: it has time for itself.
    oldest = databases.questions(using, seconds=STATUS_SECONDS).ask(
        lambda: oldest_expired(using, before)
    )
    groups = entries.expired(before).values_list("scope", "reason").annotate(Count("pk"))
    found = exactly.ask(lambda: list(groups.order_by("scope", "reason")))
    if found is None:
        expired = count(entries.expired(before).values("expires_at"))
    else:
        expired = Counted(sum(number for *_, number in found))
    ended = count(sessions.expired(before))
    kept = count(entries.filter(expires_at__gte=entries.end_before(before)))
    live = count(sessions.filter(expires_at__gte=sessions.end_before(before)))
    return Preview(
        cutoff=before,
        entries=[Group(*group) for group in found or ()],
        entries_expired=expired.rows,
        entries_expired_at_least=expired.at_least,
        sessions_expired=ended.rows,
        sessions_expired_at_least=ended.at_least,
        oldest_expired=oldest,
        entries_kept=kept.rows,
        entries_kept_at_least=kept.at_least,
        sessions_kept=live.rows,
        sessions_kept_at_least=live.at_least,
    )


def _count(exactly: databases.Questions, rows: QuerySet[Any]) -> Counted:
    """Return how many rows there are, or, if that takes too long, at least how many."""
    if (all_of_them := exactly.count(rows)) is not None:
        return all_of_them
    roughly = databases.questions(rows.db, seconds=STATUS_SECONDS)
    return roughly.count(rows, limit=BACKLOG_LIMIT) or Counted(0, at_least=True)


def status(using: str | None = None, *, seconds: float = STATUS_SECONDS) -> Status:
    """Return whether the cleanup keeps its schedule; cheap enough for a health check.

    At most five statements, whatever the number of rows and runs, in ``seconds`` together. Raises
    databases.OutOfTime, a database error, if not even the runs could be read by then.

    Only a success counts: a cleanup whose runs all stop early or fail is overdue as well. It is
    overdue when its last success is older than TOKENS_CLEANUP_INTERVAL and one tick. If it never
    succeeded, it is overdue once a row has waited for longer than a tick, or, if that can't be
    found out in time, once a run has ended.
    """
    using = using or blacklist.database()
    now = clock.database_now(using)
    ahead = clock.now() - now
    before = cutoff_at(now)
    questions = databases.questions(using, seconds=seconds)
    runs = CleanupRun.objects.using(using)
    success, newest = questions.must_ask(lambda: runs.last_success_and_newest(now))
    last = success.finished_at if success else None
    due = last + conf.TOKENS_CLEANUP_INTERVAL if last else now
    outcome = newest.outcome_at(now) if newest else None
    waiting = questions.ask(lambda: (oldest_expired(using, before),))
    oldest = waiting[0] if waiting else None
    backlog = _backlog(using, questions, before) if oldest else Counted(0, at_least=not waiting)
    if last:
        late = due < now - TICK
    elif waiting:
        late = oldest is not None and oldest < before - TICK
    else:
        late = outcome not in (None, CleanupRun.Outcome.RUNNING)
    return Status(
        last_success=last,
        **_about(newest, outcome),
        next_due=due,
        overdue=late,
        backlog=backlog.rows,
        backlog_at_least=backlog.at_least,
        oldest_expired=oldest,
        clock_difference=ahead.total_seconds(),
    )


def _about(newest: CleanupRun | None, outcome: str | None) -> dict[str, Any]:
    """Return what a status says of the newest run."""
    return {
        "last_outcome": str(outcome) if outcome else None,
        "last_started_at": newest.started_at if newest else None,
        "last_host": newest.host if newest else None,
        "last_error": (newest.error or None) if newest else None,
    }


def oldest_expired(using: str, before: datetime) -> datetime | None:
    """Return when the oldest of the rows that may go was needed last, or None if none may go."""
    found: list[datetime] = []
    for model in (BlacklistEntry, TokenSession):
        rows = model.objects.using(using)
        oldest = rows.expired(before).aggregate(end=Min("expires_at"))["end"]
        if oldest is not None:
            found.append(oldest + rows.kept_for())
    return min(found, default=None)


def _backlog(using: str, questions: Questions, before: datetime) -> Counted:
    """Return how many rows may go, up to BACKLOG_LIMIT; at least one does."""
    models: tuple[type[BlacklistEntry | TokenSession], ...] = (BlacklistEntry, TokenSession)
    # The one column that an index has: counting need not read the rows themselves.
    expired = [model.objects.using(using).expired(before).values("expires_at") for model in models]
    found = questions.count_each(expired, limit=BACKLOG_LIMIT)
    if found is None:
        return Counted(0, at_least=True)
    rows = sum(one.rows for one in found)
    at_least = rows > BACKLOG_LIMIT or any(one.at_least for one in found)
    return Counted(min(rows, BACKLOG_LIMIT), at_least)
