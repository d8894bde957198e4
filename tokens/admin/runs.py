"""When the cleanup ran, and with what result."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as translated
from django.utils.translation import gettext_lazy as _

from .. import blacklist, clock
from ..models import CleanupRun
from . import moments, running
from .base import Choices, ReadOnlyAdmin, label, shortened
from .lists import WithinFilter
from .pages import url
from .state import KINDS, cleanup_state, facts


class StartedFilter(WithinFilter):
    title = _("started")
    parameter_name = "started"
    column = "started_at"
    within = ("day", "week", "month")


class OutcomeFilter(admin.SimpleListFilter):
    """Filter by the outcome as the list shows it: a run that was killed counts as abandoned."""

    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return CleanupRun.Outcome.choices

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value not in CleanupRun.Outcome.values:
            return None
        running = Q(outcome=CleanupRun.Outcome.RUNNING)
        dead = running & Q(heartbeat_at__lte=clock.now() - CleanupRun.LEASE)
        match value:
            case CleanupRun.Outcome.ABANDONED:
                return queryset.filter(dead | Q(outcome=value))
            case CleanupRun.Outcome.RUNNING:
                return queryset.filter(running & ~dead)
        return queryset.filter(outcome=value)


class _ValuesFilter(admin.SimpleListFilter):
    """Filter by a value of a column. There are no more runs than the cleanup keeps."""

    parameter_name: str
    place: int

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        values = sorted({row[self.place] for row in _triggers_and_hosts(request)})
        return [(value, value) for value in values if value]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else None


def _triggers_and_hosts(request: HttpRequest) -> list[tuple[str, str]]:
    """Return which triggers started runs on which hosts. One statement for each request."""
    name = "tokens_triggers_and_hosts"
    if not hasattr(request, name):
        rows = CleanupRun.objects.using(blacklist.database()).order_by()
        setattr(request, name, list(rows.values_list("trigger", "host").distinct()[:100]))
    found: list[tuple[str, str]] = getattr(request, name)
    return found


class TriggerFilter(_ValuesFilter):
    title = _("trigger")
    parameter_name = "trigger"
    place = 0


class HostFilter(_ValuesFilter):
    title = _("host")
    parameter_name = "host"
    place = 1


@admin.register(CleanupRun)
class CleanupRunAdmin(ReadOnlyAdmin):
    change_list_template = "admin/tokens/cleanuprun/list.html"
    list_display = ("started", "outcome_and_error", "removed", "duration", "trigger", "host")
    list_filter = (StartedFilter, OutcomeFilter, TriggerFilter, HostFilter)
    lookups = frozenset({"started", "outcome", "trigger", "host"})
    ordering = ("-pk",)
    fields = (
        "started_exactly",
        "heartbeat_exactly",
        "finished_exactly",
        "duration",
        "outcome_label",
        "error",
        "trigger",
        "host",
        "entries",
        "sessions",
        "runs_removed",
        "batches",
        "longest",
        "entries_order",
        "sessions_order",
    )

    def get_urls(self) -> list[Any]:
        return [*running.urls(self), *super().get_urls()]

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Warn on the admin's front page: it asks for this, and has no other place for us."""
        if self._shows_front_page(request) and (text := self._complaint()):
            self.message_user(request, text, messages.WARNING)
        return super().get_model_perms(request)

    def _shows_front_page(self, request: HttpRequest) -> bool:
        """Return whether this is the first time that the front page asks."""
        match, seen = request.resolver_match, "tokens_complained"
        if match is None or match.view_name != f"{self.admin_site.name}:index":
            return False
        first = not hasattr(request, seen) and self.has_view_permission(request)
        setattr(request, seen, True)
        return first

    def _complaint(self) -> str | None:
        state = cleanup_state()
        if state is None:
            return None
        if state.overdue:
            return translated("The cleanup of tokens is overdue.")
        failed = state.last_outcome in (CleanupRun.Outcome.FAILED, CleanupRun.Outcome.ABANDONED)
        return translated("The last cleanup of tokens failed.") if failed else None

    started = moments.column("started_at", _("started"))
    started_exactly = moments.exact("started_at", _("started"))
    heartbeat_exactly = moments.exact("heartbeat_at", _("last sign of life"))
    finished_exactly = moments.exact("finished_at", _("finished"))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        state = cleanup_state()
        if state is not None and state.overdue:
            self.message_user(request, _("The cleanup is overdue."), messages.WARNING)
        context = {
            "state": facts(state) if state else None,
            "run_url": url(self.admin_site, CleanupRun, "run")
            if request.user.has_perm(running.RIGHT)
            else None,
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    @admin.display(description=_("outcome"))
    def outcome_label(self, run: CleanupRun) -> str:
        # By this host's clock, because this only shows it.
        outcome = run.outcome_at(clock.now())
        return label(str(outcome.label), KINDS[outcome])

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

    @admin.display(description=_("outcome"))
    def outcome_and_error(self, run: CleanupRun) -> str:
        outcome = self.outcome_label(run)
        if not run.error:
            return outcome
        error = shortened(run.error, 120)
        return format_html('{}<div class="tokens-error">{}</div>', outcome, error)


def _seconds(number: float) -> str:
    return str(_("%s s") % number_format(number, decimal_pos=2))
