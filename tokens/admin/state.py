"""How the cleanup is, in a few lines: what ``cleanup_tokens --check`` says, for people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

from ..cleanup import Status, status
from ..databases import Counted, OutOfTime
from ..models import CleanupRun
from .base import unsupported
from .moments import relative

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

Facts = list[tuple[str, "SafeString | str"]]


# The colour in which an outcome is shown: a kind of ``base.label``.
KINDS: dict[str, str] = {
    CleanupRun.Outcome.RUNNING: "busy",
    CleanupRun.Outcome.SUCCEEDED: "good",
    CleanupRun.Outcome.PARTIAL: "odd",
    CleanupRun.Outcome.FAILED: "bad",
    CleanupRun.Outcome.ABANDONED: "bad",
}


def cleanup_state() -> Status | None:
    """Return how the cleanup is, or None if that can't be found out now."""
    if unsupported() is not None:
        return None
    try:
        return status()
    except OutOfTime:
        return None  # the page itself tells what can be told


def facts(state: Status) -> Facts:
    """Return what is known, as names and HTML."""
    return [
        (_("Last success"), relative(state.last_success) if state.last_success else _("never")),
        (_("Next due"), relative(state.next_due)),
        (_("Waiting to be removed"), format_html_join(", ", "{}", _waiting(state))),
        (_("Last run"), format_html_join(", ", "{}", _last_run(state))),
    ]


def waiting(state: Status) -> str:
    """Return how many rows the next run would remove."""
    return told(Counted(state.backlog, state.backlog_at_least))


def told(counted: Counted) -> str:
    """Return a number of rows as people read it."""
    number = number_format(counted.rows, force_grouping=True)
    if not counted.at_least:
        return number
    return _("more than %s") % number if counted.rows else _("unknown")


def _waiting(state: Status) -> Iterator[tuple[str]]:
    yield (waiting(state),)
    if state.oldest_expired:
        yield (format_html(_("the oldest expired {}"), relative(state.oldest_expired)),)


def _last_run(state: Status) -> Iterator[tuple[str]]:
    if state.last_outcome is None or state.last_started_at is None:
        yield (_("none"),)
        return
    yield (str(CleanupRun.Outcome(state.last_outcome).label),)
    yield (format_html(_("began {}"), relative(state.last_started_at)),)
    if state.last_host:
        yield (_("on %s") % state.last_host,)
    if state.last_error:
        yield (state.last_error,)
