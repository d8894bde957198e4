"""Who is logged in, on which device. Shown without anything that a token could be made from."""

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..models import TokenSession
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
    search_help_text = _("The exact id of a session, an IP address, or the beginning of a name.")
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

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A session may go with its user, whose page asks this; on its own pages it may not."""
        match = request.resolver_match
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        own = match is None or (match.url_name or "").startswith(prefix)
        return obj is not None and not own
