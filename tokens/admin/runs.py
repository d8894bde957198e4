"""When the cleanup ran, and with what result."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from .. import clock
from ..cleanup import status
from ..models import CleanupRun
from .base import ReadOnlyAdmin, label, moment, shortened

_KINDS: dict[str, str] = {
    CleanupRun.Outcome.RUNNING: "busy",
    CleanupRun.Outcome.SUCCEEDED: "good",
    CleanupRun.Outcome.PARTIAL: "odd",
    CleanupRun.Outcome.FAILED: "bad",
    CleanupRun.Outcome.ABANDONED: "bad",
}


@admin.register(CleanupRun)
class CleanupRunAdmin(ReadOnlyAdmin):
    list_display = (
        "started",
        "outcome_label",
        "trigger",
        "host",
        "removed",
        "batches",
        "longest",
        "duration",
        "short_error",
    )
    ordering = ("-pk",)
    fields = (
        "started_at",
        "heartbeat_at",
        "finished_at",
        "duration",
        "outcome_label",
        "trigger",
        "host",
        "entries",
        "sessions",
        "runs_removed",
        "batches",
        "longest",
        "error",
    )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if status().overdue:
            self.message_user(request, _("The cleanup is overdue."), messages.WARNING)
        return super().changelist_view(request, extra_context)

    started = moment("started_at", _("started at"))

    @admin.display(description=_("outcome"))
    def outcome_label(self, run: CleanupRun) -> str:
        # By this host's clock, because this only shows it.
        outcome = run.outcome_at(clock.now())
        return label(str(outcome.label), _KINDS[outcome])

    @admin.display(description=_("removed"))
    def removed(self, run: CleanupRun) -> str:
        return number_format(run.entries_removed + run.sessions_removed, force_grouping=True)

    @admin.display(description=_("entries removed"))
    def entries(self, run: CleanupRun) -> str:
        return number_format(run.entries_removed, force_grouping=True)

    @admin.display(description=_("sessions removed"))
    def sessions(self, run: CleanupRun) -> str:
        return number_format(run.sessions_removed, force_grouping=True)

    @admin.display(description=_("longest batch"))
    def longest(self, run: CleanupRun) -> str:
        return _seconds(run.longest_batch)

    @admin.display(description=_("duration"))
    def duration(self, run: CleanupRun) -> str:
        """Return how long the run took, or how long it had run at its last heartbeat."""
        took = (run.finished_at or run.heartbeat_at) - run.started_at
        whole = timedelta(seconds=round(took.total_seconds()))
        return str(whole) if whole >= timedelta(minutes=1) else _seconds(took.total_seconds())

    @admin.display(description=_("error"))
    def short_error(self, run: CleanupRun) -> str:
        return shortened(run.error, 80)


def _seconds(number: float) -> str:
    return str(_("%s s") % number_format(number, decimal_pos=2))
