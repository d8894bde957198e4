"""Who is logged in, on which device. Shows nothing that a token could be made from.

People with the permission can end sessions here.
"""

from typing import Any, cast
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import sessions
from ..models import TokenSession
from ..querysets import SessionQuerySet
from . import ending, moments
from .base import OfUsersAdmin, label, shortened, unsupported
from .lists import NewestChangeList
from .pages import list_url, user_url
from .search import ip_addresses, user_keys, uuids


class SessionList(NewestChangeList):
    def reads_too_much(self) -> bool:
        """Return whether an address is searched for, on which there is no index."""
        return bool(ip_addresses(self.query.strip()))

    def narrowed(self, request: HttpRequest, rows: QuerySet[Any], column: str) -> QuerySet[Any]:
        """Return all sessions: among the live ones alone, the index would not be enough."""
        return TokenSession.objects.using(rows.db)


@admin.register(TokenSession)
class TokenSessionAdmin(OfUsersAdmin):
    list_display = ("user_link", "device", "ip_address", "logged_in_at", "last_refreshed_at")
    list_display_links = ("device",)
    ordering = ("-sid",)  # by time of login: session ids grow with time
    actions = ("end_selected", "end_everywhere")
    search_help_text = _(
        "Exact id of a session, an IP or e-mail address, or the beginning of a user name."
    )
    fields = (
        "status",
        "user_link",
        "device_exactly",
        "ip_address",
        "logged_in_exactly",
        "last_refreshed_exactly",
        "ends_exactly",
        "sid",
    )

    logged_in_at = moments.column("created_at", _("logged in"))
    last_refreshed_at = moments.column("last_used_at", _("last refreshed"))
    logged_in_exactly = moments.exact("created_at", _("logged in"))
    last_refreshed_exactly = moments.exact("last_used_at", _("last refreshed"))
    ends_exactly = moments.exact("expires_at", _("may go on until"))

    @admin.display(description=_("status"))
    def status(self, session: TokenSession) -> str:
        return label(_("live"), "good") if session.is_live else label(_("over"), "quiet")

    @admin.display(description=_("device"))
    def device(self, session: TokenSession) -> str:
        name = sessions.device_of(session) or gettext("unknown")
        if name == session.user_agent:
            return shortened(name, 60)
        return format_html('<span title="{}">{}</span>', session.user_agent, name)

    @admin.display(description=_("device"))
    def device_exactly(self, session: TokenSession) -> str:
        name = sessions.device_of(session) or gettext("unknown")
        if session.user_agent in ("", name):
            return name
        return format_html("{} ({})", name, session.user_agent)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """List the live sessions only. The page of one that is over stays until its row goes."""
        rows = cast(SessionQuerySet, super().get_queryset(request))
        match = request.resolver_match
        listed = match is not None and (match.url_name or "").endswith("_changelist")
        return rows.live() if listed else rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SessionList

    def about(self, term: str) -> Q:
        return Q(sid__in=uuids(term)) | Q(ip_address__in=ip_addresses(term))

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(ending.RIGHT)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {"may_end": self.has_end_permission(request), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[Any]:
        end = self.admin_site.admin_view(self.end_view)
        end_all = self.admin_site.admin_view(self.end_all_view)
        return [
            path("<uuid:sid>/end/", end, name="tokens_tokensession_end"),
            path("of/<path:user>/end/", end_all, name="tokens_tokensession_end_all"),
            *super().get_urls(),
        ]

    def end_view(self, request: HttpRequest, sid: UUID) -> HttpResponse:
        """Ask whether to end this session; after the answer, end it."""
        if not self.has_end_permission(request):
            raise PermissionDenied
        if (answer := unsupported()) is not None:
            return answer
        rows = cast(SessionQuerySet, self.get_queryset(request)).filter(pk=sid)
        user = rows.values_list("user_id", flat=True).first()
        return ending.end_selected(self, request, rows) or self._back(request, user)

    def end_all_view(self, request: HttpRequest, user: str) -> HttpResponse:
        """Ask whether to end all sessions of this user; after the answer, end them."""
        if not self.has_end_permission(request):
            raise PermissionDenied
        keys = user_keys(unquote(user))
        response = ending.end_everywhere(self, request, keys, action="end_everywhere")
        return response or self._back(request, next(iter(keys), None))

    def _back(self, request: HttpRequest, user_pk: Any) -> HttpResponse:
        """Return to the user's page or to the list of the user's sessions, if one may open it."""
        site, page = self.admin_site, None
        if "from" in request.GET and user_pk is not None:
            page = user_url(request, site, user_pk)
        if page is None and self.has_view_permission(request):
            page = list_url(site, TokenSession, user_pk=user_pk)
        return HttpResponseRedirect(page or reverse(f"{site.name}:index"))

    @admin.action(permissions=["end"], description=_("End selected sessions"))
    def end_selected(self, request: HttpRequest, queryset: SessionQuerySet) -> HttpResponse | None:
        return ending.end_selected(self, request, queryset)

    @admin.action(permissions=["end"], description=_("End all sessions of these users"))
    def end_everywhere(
        self, request: HttpRequest, queryset: SessionQuerySet
    ) -> HttpResponse | None:
        users = queryset.prefetch_related(None).order_by().values_list("user_id", flat=True)
        chosen = users.distinct()[: ending.MAX_USERS + 1]
        return ending.end_everywhere(self, request, chosen, action="end_everywhere")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow deletion together with the user, on the user's page, but not on our own pages."""
        match = request.resolver_match
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        own = match is None or (match.url_name or "").startswith(prefix)
        return obj is not None and not own
