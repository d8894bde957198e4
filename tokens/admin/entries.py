"""The blacklist in the admin: read-only, except for un-revoking with the permission for it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import blacklist, clock
from ..conf import simplejwt
from ..databases import has_partial_indexes
from ..entries import subject_shown_as
from ..models import BlacklistEntry
from ..querysets import RARE_REASONS, oldest_in_force
from ..users import database, everyone
from . import acts, moments
from .base import BREADCRUMBS_IN_LIST, Choices, OfUsersAdmin, label, short_id
from .history import Act, record, to_user
from .lists import NewestChangeList, WithinFilter
from .search import user_keys, uuids

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class RevokedFilter(WithinFilter):
    """Filter by when the tokens were revoked, along the index on ``created_at``."""

    title = _("revoked")
    parameter_name = "revoked"
    column = "created_at"
    within = ("hour", "day", "week")


class RefusedFilter(admin.SimpleListFilter):
    """Filter by whether the tokens are still refused, along the index on ``expires_at``."""

    title = _("refused")
    parameter_name = "status"
    column = "expires_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            ("in_force", _("now")),
            ("expired", _("no more: they have expired")),
            ("for_good", _("forever")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "in_force":
                return queryset.in_force()
            case "expired":
                return queryset.expired(oldest_in_force())
            case "for_good":
                return queryset.for_good()
        return None


def titled(title: "str | _StrPromise") -> type[admin.ChoicesFieldListFilter]:
    """Return a filter by the choices of a field under another title than the field's name."""

    class Titled(admin.ChoicesFieldListFilter):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.title = title

    return Titled


class EntryList(NewestChangeList):
    def reads_too_much(self) -> bool:
        found_by_index = self.query or "user" in self.params
        unindexed = {"scope__exact", "reason__exact"}
        return not found_by_index and not self.params.keys().isdisjoint(unindexed)

    def narrowed(self, request: HttpRequest, rows: QuerySet[Any], column: str) -> QuerySet[Any]:
        rows, reason = super().narrowed(request, rows, column), self.params.get("reason__exact")
        indexed = column == "created_at" and has_partial_indexes(rows.db)
        return rows.filter(reason=reason) if indexed and reason in RARE_REASONS else rows


@admin.register(BlacklistEntry)
class BlacklistEntryAdmin(OfUsersAdmin):
    list_display = ("user_link", "what", "why", "revoked_at", "refused_until")
    list_display_links = ("why",)  # narrow screens show no column between this one and the user
    list_filter = (
        RevokedFilter,
        RefusedFilter,
        ("reason", titled(_("why"))),
        ("scope", titled(_("what"))),
    )
    lookups = OfUsersAdmin.lookups | {"status", "scope__exact", "reason__exact", "revoked"}
    sortable_by = ("revoked_at", "refused_until")
    search_help_text = _(
        "Exact id of a token, session or user, an e-mail address, or the beginning of a user name."
    )
    fields = (
        "status",
        "user_link",
        "scope",
        "reason",
        "device",
        "ip_address",
        "revoked_exactly",
        "revoked_by",
        "revoked_from",
        "note",
        "refused_until_exactly",
        "issued_before_exactly",
        "subject",
        "key",
    )
    actions = ("delete_selected",)
    list_max_show_all = 200

    revoked_at = moments.column("created_at", _("revoked"))
    revoked_exactly = moments.exact("created_at", _("revoked"))
    refused_until_exactly = moments.exact("expires_at", _("refused until"), never=clock.end_of_time)
    issued_before_exactly = moments.exact("issued_before", _("if issued until"))

    @admin.display(description=_("device"))
    def device(self, entry: BlacklistEntry) -> str:
        return acts.device(entry) or str(self.get_empty_value_display())

    @admin.display(description=_("revoked by"))
    def revoked_by(self, entry: BlacklistEntry) -> str:
        return acts.who(entry) or str(self.get_empty_value_display())

    @admin.display(description=_("revoked from"))
    def revoked_from(self, entry: BlacklistEntry) -> str:
        return acts.where_from(entry) or str(self.get_empty_value_display())

    @admin.display(description=_("status"))
    def status(self, entry: BlacklistEntry) -> str:
        return label(_("in force"), "bad") if entry.in_force else label(_("over"), "quiet")

    @admin.display(description=_("what"))
    def what(self, entry: BlacklistEntry) -> str:
        if entry.scope == BlacklistEntry.Scope.USER:
            return entry.get_scope_display()
        return format_html(
            '<span title="{}">{} <code>{}</code></span>',
            entry.subject,
            entry.get_scope_display(),
            short_id(entry.subject),
        )

    @admin.display(description=_("why"))
    def why(self, entry: BlacklistEntry) -> str:
        return entry.get_reason_display()

    @admin.display(description=_("refused until"), ordering="expires_at")
    def refused_until(self, entry: BlacklistEntry) -> str:
        if not entry.in_force:
            return label(_("over"), "quiet", title=moments.shown(entry.expires_at))
        if entry.expires_at == clock.end_of_time():
            return gettext("forever")
        return moments.relative(entry.expires_at)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Show the newest first, in the order of an index that finds what the filter asks for."""
        asked = request.GET.get(RefusedFilter.parameter_name)
        return ("-expires_at",) if asked in ("expired", "for_good") else ("-created_at",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EntryList

    def about(self, term: str) -> Q:
        entries = BlacklistEntry.objects.using(blacklist.database())
        issuer = simplejwt.ISSUER or ""
        found = entries.about(term, issuer=issuer)
        found |= entries.about(subject_shown_as(term), issuer=issuer)
        found |= entries.filter(key__in=uuids(term))
        # Asked for at once, so that the list's own query is a plain one along an index.
        keys = list(found.values_list("key", flat=True))
        return Q(key__in=keys) | Q(user__in=user_keys(term))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting is un-revoking, so the usual right to delete is not enough."""
        return request.user.has_perm("tokens.unrevoke_blacklistentry")

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may = self.has_delete_permission(request)
        if request.method == "POST" and may and not _why(request):
            self._ask_why(request)
            return HttpResponseRedirect(request.get_full_path())
        context = {
            "title": _("Un-revoke"),
            "breadcrumbs_in_list": BREADCRUMBS_IN_LIST,
            **(extra_context or {}),
        }
        return super().delete_view(request, object_id, context)

    def _ask_why(self, request: HttpRequest) -> None:
        self.message_user(request, _("Nothing was un-revoked: say why."), messages.ERROR)

    def log_deletions(
        self, request: HttpRequest, queryset: Iterable[BlacklistEntry]
    ) -> list[LogEntry]:
        """Record in each user's history who un-revoked what, and why."""
        entries = list(queryset)
        users = everyone(database()).in_bulk({entry.user_id for entry in entries} - {None})
        return record(request, [_act(entry, users, _why(request)) for entry in entries])

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        """Say "un-revoked": nobody here thinks of deleting a row."""
        self.message_user(request, _("Un-revoked %s.") % obj_display, messages.SUCCESS)
        view = "tokens_blacklistentry_changelist" if self.has_view_permission(request) else "index"
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{view}"))

    def delete_model(self, request: HttpRequest, obj: BlacklistEntry) -> None:
        self.delete_queryset(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: Iterable[BlacklistEntry]) -> None:
        by = cast(AbstractBaseUser, request.user)
        blacklist.unrevoke(queryset, by=by, why=_why(request))

    @admin.action(permissions=["delete"], description=_("Un-revoke selected blacklist entries"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Django's action in its place, with our confirmation page, for no more than one page."""
        if queryset[: self.list_max_show_all + 1].count() > self.list_max_show_all:
            text = _("At most %d entries can be un-revoked at once.")
            self.message_user(request, text % self.list_max_show_all, messages.ERROR)
            return None
        if "post" in request.POST and not _why(request):
            self._ask_why(request)
            return None
        # Django writes the history first, and the entries go all at once.
        response = delete_selected(self, request, queryset)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            response.context_data["title"] = _("Un-revoke")
            response.context_data["breadcrumbs_in_list"] = BREADCRUMBS_IN_LIST
        return response


def _why(request: HttpRequest) -> str:
    return " ".join(request.POST.get("why", "").split())[:200]


def _act(entry: BlacklistEntry, users: Mapping[Any, AbstractBaseUser], why: str) -> Act:
    values = {
        "what": entry,
        "reason": entry.get_reason_display(),
        "moment": moments.shown(entry.created_at),
        "why": why,
    }
    message = gettext("Un-revoked %(what)s (%(reason)s, %(moment)s): %(why)s") % values
    if entry.user_id is None:
        return Act(BlacklistEntry, entry.pk, str(entry), message)
    user = users.get(entry.user_id)
    return to_user(entry.user_id, user.get_username() if user else str(entry.user_id), message)
