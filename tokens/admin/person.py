"""What a user's page shows: where the user is logged in, and what was revoked lately."""

from typing import Any

from django.contrib.admin import AdminSite
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import blacklist, sessions
from ..models import BlacklistEntry, TokenSession
from . import ending
from .lists import by_sorting
from .moments import relative
from .pages import list_url, url

MAX_SESSIONS, MAX_ENTRIES = 10, 5
_MAX_COUNT = 1_000


def page_of(site: AdminSite, user: Any, viewer: Any) -> str:
    """Return HTML about ``user``, as far as ``viewer`` may see it and this admin site has pages."""
    live = TokenSession.objects.using(blacklist.database()).of_user(user.pk).live()
    number = live[: _MAX_COUNT + 1].count()
    context = {
        "summary": _summary(number),
        "sessions": [_shown(site, one, viewer) for one in _newest(live, number)],
        "more": number > MAX_SESSIONS,
        "sessions_url": list_url(site, TokenSession, user_pk=user.pk),
        "end_all_url": url(site, TokenSession, "end_all", user.pk)
        if viewer.has_perm(ending.RIGHT)
        else None,
        "may_view_entries": viewer.has_perm("tokens.view_blacklistentry"),
    }
    if context["may_view_entries"]:
        entries = BlacklistEntry.objects.using(blacklist.database()).filter(user=user.pk)
        context["entries"] = [
            {
                "what": entry.get_scope_display(),
                "why": entry.get_reason_display(),
                "device": sessions.device_of(entry),
                "revoked": relative(entry.created_at),
                "url": url(site, BlacklistEntry, "change", entry.pk),
            }
            for entry in entries.order_by(by_sorting("-created_at"))[:MAX_ENTRIES]
        ]
        context["entries_url"] = list_url(site, BlacklistEntry, user_pk=user.pk)
    return render_to_string("admin/tokens/person.html", context)


def _newest(live: Any, number: int) -> list[TokenSession]:
    return list(live.order_by(by_sorting("-sid"))[:MAX_SESSIONS]) if number else []


def _shown(site: AdminSite, session: TokenSession, viewer: Any) -> dict[str, Any]:
    return {
        "device": sessions.device_of(session) or _("unknown device"),
        "user_agent": session.user_agent,
        "ip_address": session.ip_address,
        "logged_in": relative(session.created_at),
        "last_refreshed": relative(session.last_used_at),
        "url": url(site, TokenSession, "change", session.pk),
        "end_url": url(site, TokenSession, "end", session.pk)
        if viewer.has_perm(ending.RIGHT)
        else None,
    }


def _summary(number: int) -> str:
    if number > _MAX_COUNT:
        return _("More than %d live sessions") % _MAX_COUNT
    return ngettext("%d live session", "%d live sessions", number) % number
