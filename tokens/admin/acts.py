"""What a blacklist entry says of its act: which device, who revoked, from where, and why."""

from typing import Any

from django.utils.html import format_html
from django.utils.translation import gettext as _

from .. import sessions
from ..models import BlacklistEntry
from ..users import database, everyone
from .search import user_keys


def device(row: Any) -> str:
    """Return the device of a session, or of the one that an entry ended; "" if it is not known.

    The mouse pointer reveals the User-Agent.
    """
    name = sessions.device_of(row)
    if not name or name == row.user_agent:
        return name
    return format_html('<span title="{}">{}</span>', row.user_agent, name)


def who(entry: BlacklistEntry) -> str:
    """Return who revoked: the name of a user, or what the code or the command said."""
    keys = user_keys(entry.by) if entry.by else []
    user = everyone(database()).filter(pk__in=keys).first() if keys else None
    return user.get_username() if user else entry.by


def where_from(entry: BlacklistEntry) -> str:
    """Return where the act came from, if that is not where the session was used last."""
    known = (sessions.device(entry.by_user_agent), entry.by_ip_address)
    return ", ".join(fact for fact in known if fact)


def facts(entry: BlacklistEntry) -> list[tuple[str, str]]:
    """Return what there is to say of the act, each with its name."""
    reused = entry.reason == BlacklistEntry.Reason.REUSE
    said = (
        (_("Device"), device(entry)),
        (_("IP address"), entry.ip_address or ""),
        (_("Revoked by"), who(entry)),
        (_("Second use from") if reused else _("Revoked from"), where_from(entry)),
        (_("Note"), entry.note),
    )
    return [(name, text) for name, text in said if text]
