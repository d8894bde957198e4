"""Who is logged in, on which device. Shows nothing that a token could be made from.

People with the permission can end sessions here.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ..models import TokenSession
from ..querysets import SessionQuerySet
from . import ending
from .base import OfUsersAdmin, moment, shortened
from .search import ip_addresses, uuids


@admin.register(TokenSession)
class TokenSessionAdmin(OfUsersAdmin):
    list_display = (
        "user_link",
        "logged_in_at",
        "last_refreshed_at",
        "ends_at",
        "ip_address",
        "short_user_agent",
    )
    list_display_links = ("logged_in_at",)
    ordering = ("-sid",)  # by time of login: session ids grow with time
    sortable_by = ("ends_at",)
    actions = ("end_selected", "end_everywhere")
    search_help_text = _("Exact id of a session, an IP address, or the beginning of a user name.")
    fields = (
        "sid",
        "user_link",
        "created_at",
        "last_used_at",
        "expires_at",
        "ip_address",
        "user_agent",
    )

    logged_in_at = moment("created_at", _("logged in at"))
    last_refreshed_at = moment("last_used_at", _("last refreshed at"))
    ends_at = moment("expires_at", _("expires at"))

    @admin.display(description=_("user agent"))
    def short_user_agent(self, session: TokenSession) -> str:
        return shortened(session.user_agent, 60)

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
