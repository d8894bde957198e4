"""What ``cleanup_tokens`` says to people. (The underscore keeps Django from listing it.)"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from tokens.cleanup import (
    BACKLOG_LIMIT,
    LEASE_LOST,
    NOT_DUE,
    RUNNING_ELSEWHERE,
    SKIPPED,
    CleanupReport,
    Outcome,
    Preview,
    Status,
)
from tokens.formats import count, moment
from tokens.models import CleanupRun
from tokens.schedule.crontab import REPAIR, Crontab, State

_SKIPPED = {
    NOT_DUE: "Not due yet: nothing done.",
    RUNNING_ELSEWHERE: "Another cleanup is running: nothing done.",
}


def report_lines(
    report: CleanupReport,
    *,
    verbosity: int,
    elsewhere: Callable[[], CleanupRun | None] = lambda: None,
) -> Iterator[str]:
    """Yield what a run did; more of it from verbosity 2 on, and the timings from 3 on.

    ``elsewhere`` returns the run that is at work instead, if it is known.
    """
    if report.outcome == SKIPPED:
        yield _SKIPPED[report.skipped or ""]
        if report.skipped == RUNNING_ELSEWHERE and (run := elsewhere()):
            yield f"It began {moment(run.started_at)} on {run.host or 'an unknown host'}."
        return
    removed = f"{_entries(report.entries_removed)} and {_sessions(report.sessions_removed)}"
    nothing = "Nothing to remove." if report.outcome == Outcome.SUCCEEDED else "Removed nothing."
    yield f"Removed {removed}." if report.removed else nothing
    if verbosity >= 2 and report.cutoff:
        yield f"Expired before: {moment(report.cutoff)}"
        yield f"Old records of runs removed: {report.runs_removed:,}"
        yield f"Batches: {report.batches:,}"
        orders = report.entries_order or "none", report.sessions_order or "none"
        yield "Order: entries {}, sessions {}".format(*orders)
    if verbosity >= 3:
        yield f"Started: {moment(report.started_at)}"
        yield f"Took: {report.seconds:.2f} s, longest batch {report.longest_batch:.3f} s"


def report_facts(report: CleanupReport) -> dict[str, Any]:
    """Return what a run did, for JSON."""
    return asdict(report) | {"removed": report.removed}


def stopped_early(report: CleanupReport) -> str:
    """Return why a run ended before it was done, and what becomes of the rest."""
    if report.stopped == LEASE_LOST:
        return f"Stopped early ({report.stopped}): another run has taken over."
    if report.error:
        return (
            f"Stopped early ({report.stopped}), which could not be recorded ({report.error}): the"
            " next run can begin in ten minutes."
        )
    return f"Stopped early ({report.stopped}): rows are left, and the next run continues."


def preview_lines(preview: Preview, *, verbosity: int) -> Iterator[str]:
    """Yield what a run would do."""
    unknown = preview.entries_expired_at_least or preview.sessions_expired_at_least
    if preview.expired or unknown:
        entries = _entries(preview.entries_expired, at_least=preview.entries_expired_at_least)
        sessions = _sessions(preview.sessions_expired, at_least=preview.sessions_expired_at_least)
        yield f"Would remove {entries} and {sessions}."
    else:
        yield "There is nothing to remove."
    for group in preview.entries:
        yield f"  {group.scope}, {group.reason}: {group.count:,}"
    if preview.oldest_expired:
        yield f"The oldest expired at {moment(preview.oldest_expired)}."
    entries = _told(preview.entries_kept, preview.entries_kept_at_least, "entry", "entries")
    sessions = _told(preview.sessions_kept, preview.sessions_kept_at_least, "session")
    yield f"Would keep {entries} and {sessions}."
    if unknown or preview.entries_kept_at_least or preview.sessions_kept_at_least:
        yield _UNCOUNTED
    if verbosity >= 2:
        yield f"Expired before: {moment(preview.cutoff)}"


def status_lines(status: Status, *, verbosity: int) -> Iterator[str]:
    """Yield when the cleanup last succeeded, when it is due and what is waiting."""
    yield f"Last success: {moment(status.last_success)}"
    yield f"Next due: {moment(status.next_due)}"
    yield f"Waiting to be removed: {_told(status.backlog, status.backlog_at_least)}"
    if status.backlog_at_least and status.backlog < BACKLOG_LIMIT:
        yield _UNCOUNTED
    if status.oldest_expired:
        yield f"The oldest expired at {moment(status.oldest_expired)}."
    if status.last_outcome not in (None, Outcome.SUCCEEDED) or verbosity >= 2:
        yield _last_run(status)
    if verbosity >= 2:
        yield f"This host's clock is {status.clock_difference:+.3f} s off the database's."


def _last_run(status: Status) -> str:
    if status.last_outcome is None:
        return "Last run: none"
    error = f": {status.last_error}" if status.last_error else ""
    began = f"began {moment(status.last_started_at)} on {status.last_host or 'an unknown host'}"
    return f"Last run: {Outcome(status.last_outcome).label}, {began}{error}"


def crontab_lines(crontab: Crontab | None) -> Iterator[str]:
    """Yield whether the crontab has the line for django-crontab; nothing if that is not used."""
    if crontab is None:
        return
    if crontab.state is State.UNSCHEDULED:
        yield "Crontab: unscheduled. No entry of CRONJOBS cleans up."
        return
    facts = "; ".join(filter(None, [f"user {crontab.user}", crontab.reason]))
    yield f"Crontab: {crontab.state} ({facts})"
    if crontab.state in (State.MISSING, State.STALE):
        yield f"  Unless another user or host has the line, type: python {REPAIR}"


def likely_cause(crontab: Crontab | None) -> str:
    """Return why an overdue cleanup may not have run."""
    if crontab is None or crontab.state is State.UNKNOWN:
        return "is it scheduled?"
    if crontab.state is State.UNSCHEDULED:
        return "is it scheduled? No entry of CRONJOBS cleans up."
    if crontab.state is State.INSTALLED:
        return f"its line is in the crontab of {crontab.user}, but does cron run?"
    if crontab.state is State.STALE:
        cause = f"its line in the crontab of {crontab.user} is stale."
    else:
        cause = f"the crontab of {crontab.user} has no line for it."
    return f"{cause} Unless another user or host has one, type: python {REPAIR}"


def complaint(status: Status, *, cause: str) -> str | None:
    """Return why the cleanup is overdue, or None if it is not.

    ``cause`` is why it may never have run: used if the last run does not explain it.
    """
    if not status.overdue:
        return None
    return f"The cleanup is overdue: {_LAST_RUN.get(status.last_outcome or '', cause)}"


_LAST_RUN: dict[str, str] = {
    Outcome.RUNNING: "its last run is still running.",
    Outcome.PARTIAL: "its last run stopped early.",
    Outcome.FAILED: "its last run failed.",
    Outcome.ABANDONED: "its last run was abandoned: killed, or cut off from the database.",
}


_UNCOUNTED = "Counting them all takes too long, or somebody has locked the table."


def _told(number: int, at_least: object, one: str = "", many: str | None = None) -> str:
    """Return the number and what it counts; if there may be more, that it is more than this."""
    what = count(number, one, many) if one else f"{number:,}"
    if not at_least:
        return what
    if number:
        return f"more than {what}"
    return f"an unknown number of {many or one + 's'}" if one else "unknown"


def _entries(number: int, *, at_least: bool = False) -> str:
    return _told(number, at_least, "expired entry", "expired entries")


def _sessions(number: int, *, at_least: bool = False) -> str:
    return _told(number, at_least, "expired session")
