"""The front page of the app: a few figures, the cleanup, the alarms of the last day."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import DateTimeField, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from .. import blacklist, clock, databases
from ..cleanup import Status
from ..databases import Counted
from ..models import BlacklistEntry, CleanupRun, TokenSession
from ..users import database, everyone
from .base import unsupported
from .lists import LOOKED_THROUGH
from .moments import shown
from .pages import url, user_url
from .plot import Bar, Plot, bars
from .state import KINDS, cleanup_state, facts, told, waiting
from .waiting import rows_waiting

DAY = timedelta(days=1)

# Counting and looking stop here, or at the end of the time: the page must stay cheap.
MAX_COUNT, SECONDS = 100_000, 1.0
MAX_ALARMS, MAX_RUNS = 10, 60


@dataclass(frozen=True)
class Figure:
    """A number with its name, and the list that it counts."""

    name: str
    value: str
    url: str | None


def front_page(request: HttpRequest, site: AdminSite) -> dict[str, Any] | None:
    """Return what the page shows, as far as this person may see it; None if nothing."""
    if unsupported() is not None:
        return None
    may = request.user.has_perm
    page: dict[str, Any] = {
        "figures": _figures(
            site,
            sessions=may("tokens.view_tokensession"),
            entries=may("tokens.view_blacklistentry"),
        )
    }
    if may("tokens.view_blacklistentry"):
        page["alarms"] = _alarms(request, site)
    if may("tokens.view_cleanuprun") and (state := cleanup_state()) is not None:
        page["figures"].append(Figure(_("rows wait for the cleanup"), waiting(state), None))
        page |= _cleanup(site, state)
    return page if page["figures"] else None


def _figures(site: AdminSite, *, sessions: bool, entries: bool) -> list[Figure]:
    """Return how many rows there are of each kind, up to MAX_COUNT, with a list of each."""
    using = blacklist.database()
    of_entries, refused = url(site, BlacklistEntry, "changelist"), BlacklistEntry.objects
    # The one column that an index has: counting need not read the rows themselves.
    kinds = {
        _("live sessions"): (
            sessions,
            TokenSession.objects.using(using).live().values("expires_at"),
            url(site, TokenSession, "changelist"),
        ),
        _("refused now"): (
            entries,
            refused.using(using).in_force().values("expires_at"),
            of_entries and f"{of_entries}?status=in_force",
        ),
        _("revoked in the last 24 hours"): (
            entries,
            refused.using(using).filter(created_at__gte=_a_day_ago()).values("created_at"),
            of_entries and f"{of_entries}?revoked=day",
        ),
    }
    shown = {name: kind for name, kind in kinds.items() if kind[0]}
    if not shown:
        return []
    each = [rows for _may, rows, _url in shown.values()]
    numbers = databases.questions(using, seconds=SECONDS).count_each(each, limit=MAX_COUNT)
    unknown = [Counted(0, at_least=True)] * len(each)
    return [
        Figure(name, told(number), kind[2])
        for (name, kind), number in zip(shown.items(), numbers or unknown, strict=True)
    ]


def _a_day_ago() -> Any:
    return clock.floor(clock.now() - DAY, blacklist.database())


def _alarms(request: HttpRequest, site: AdminSite) -> dict[str, Any] | None:
    """Return whose refresh tokens were used twice, or None if that takes too long to find out."""
    using = blacklist.database()
    entries = BlacklistEntry.objects.using(using)
    lately = entries.filter(created_at__gte=_a_day_ago())
    if not databases.has_partial_indexes(using):
        # No index finds them, so this looks through the newest entries only, as the list does.
        newest = entries.order_by("-created_at").values("created_at")
        oldest = Subquery(newest[LOOKED_THROUGH : LOOKED_THROUGH + 1])
        since = Coalesce(oldest, Value(_a_day_ago(), DateTimeField()))
        lately = lately.filter(created_at__gte=since)

    def ask() -> list[BlacklistEntry]:
        reused = lately.filter(reason=BlacklistEntry.Reason.REUSE)
        return list(reused.order_by("-created_at")[: MAX_ALARMS + 1])

    found = databases.questions(using, seconds=SECONDS).ask(ask)
    if found is None:
        return None
    address = url(site, BlacklistEntry, "changelist")
    users = everyone(database()).in_bulk({entry.user_id for entry in found} - {None})
    names = {pk: user.get_username() for pk, user in users.items()}
    return {
        "entries": [
            {
                "entry": entry,
                "name": names.get(entry.user_id, entry.user_id or "-"),
                "url": url(site, BlacklistEntry, "change", entry.pk),
                "user_url": None
                if entry.user_id is None
                else user_url(request, site, entry.user_id),
            }
            for entry in found[:MAX_ALARMS]
        ],
        "all_url": address and f"{address}?reason__exact=reuse&revoked=day",
        "more": len(found) > MAX_ALARMS,
    }


def _cleanup(site: AdminSite, state: Status) -> dict[str, Any]:
    runs = CleanupRun.objects.using(blacklist.database()).order_by("-pk")[:MAX_RUNS]
    removed = Plot(
        _("Rows removed by each of the last runs, in the colour of its outcome."),
        _("Run"),
        [_bar(run) for run in reversed(runs)],
        places=MAX_RUNS,
    )
    return {
        "state": facts(state),
        "overdue": state.overdue,
        "plots": [bars(plot) for plot in (removed, rows_waiting()) if plot and plot.shown],
        "runs_url": url(site, CleanupRun, "changelist"),
    }


def _bar(run: CleanupRun) -> Bar:
    outcome = run.outcome_at(clock.now())
    removed = run.entries_removed + run.sessions_removed
    values = {"number": number_format(removed, force_grouping=True), "outcome": outcome.label}
    text = _("%(number)s rows, %(outcome)s") % values
    return Bar(removed, KINDS[outcome], shown(run.started_at), text)
