"""End sessions from the admin: ask first, then end them and record it.

Both steps are bounded, because a selection may be "all 10,000 and more".
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import blacklist, sessions
from ..keys import session_uuid
from ..log import logger
from ..models import BlacklistEntry, TokenSession
from ..querysets import SessionQuerySet
from ..users import database, everyone
from .base import BREADCRUMBS_IN_LIST, unsupported
from .history import Act, acting_for, record, to_user
from .lists import CappedPaginator, by_sorting
from .moments import relative

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]

T = TypeVar("T")

RIGHT = "tokens.end_tokensession"
MAX_SESSIONS = CappedPaginator.cap
MAX_USERS = 100

# The most names a confirmation page shows, and the most ids a log line shows.
_NAMES = 20
_IDS = 100

_REASON = BlacklistEntry.Reason.ADMIN


def end_selected(
    model_admin: "ModelAdmin", request: HttpRequest, queryset: SessionQuerySet
) -> HttpResponse | None:
    """End the selected sessions, at most the newest MAX_SESSIONS of them."""
    # End exactly what the page asked about, even if people have logged in since.
    until = session_uuid(request.POST.get("until", ""))
    rows = queryset.filter(sid__lte=until) if until else queryset
    pairs = rows.prefetch_related(None).order_by("-sid").values_list("sid", "user_id")
    listed = list(pairs[: MAX_SESSIONS + 1])
    more, listed = listed[MAX_SESSIONS:], listed[:MAX_SESSIONS]
    sids = [sid for sid, _user in listed]
    if not sids:
        _say_ended_already(model_admin, request)
        return None
    numbers = Counter(user_pk for _sid, user_pk in listed)
    if not request.POST.get("post"):
        across = request.POST.get("select_across") == "1"
        context = {
            "selected": sids[:1] if across else sids,
            "until": sids[0],
            "limit": number_format(MAX_SESSIONS, force_grouping=True) if more else None,
        }
        return _question(model_admin, request, numbers, rows, "end_selected", context)
    known = _newest(rows, _named)
    _log(request, numbers, known, sids)
    with acting_for(request):
        ended = sessions.end_by_ids(sids, reason=_REASON)
    _record(model_admin, request, numbers, known, ended)
    return None


def end_everywhere(
    model_admin: "ModelAdmin", request: HttpRequest, users: Iterable[Any], *, action: str
) -> HttpResponse | None:
    """Log these users (given by primary key) out everywhere, unless they exceed MAX_USERS.

    ``action`` is the name of the calling action; the confirmation page submits it again.
    """
    if (answer := unsupported()) is not None:
        return answer
    pks = list(users)
    if len(pks) > MAX_USERS:
        text = _(
            "No session was ended. You can log out at most %d users everywhere at once. To log out"
            " everybody, run “manage.py revoke_tokens --all-users”."
        )
        model_admin.message_user(request, text % MAX_USERS, messages.ERROR)
        return None
    if not pks:
        _say_ended_already(model_admin, request)
        return None
    rows = TokenSession.objects.using(blacklist.database()).filter(user__in=pks).live()
    counted = rows.order_by().values_list("user_id").annotate(Count("pk"))
    numbers = Counter(dict.fromkeys(pks, 0) | dict(counted))
    if not request.POST.get("post"):
        selected = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        context = {"selected": selected, "until": None, "everywhere": True}
        return _question(model_admin, request, numbers, rows, action, context)
    known = _newest(rows, _named)
    _log(request, numbers, known, rows.order_by("-sid").values_list("sid", flat=True)[:_IDS])
    found = everyone(database()).in_bulk(pks)
    with acting_for(request):
        ended = sum(
            sessions.end_all(found[pk], reason=_REASON)
            if pk in found
            else sessions.end_many(_all_of(pk), reason=_REASON)
            for pk in pks
        )
    _record(model_admin, request, numbers, known, ended)
    return None


def _all_of(user_pk: Any) -> SessionQuerySet:
    """Return the user's sessions, also those whose last access token is all that is left."""
    return TokenSession.objects.using(blacklist.database()).of_user(user_pk)


def _say_ended_already(model_admin: "ModelAdmin", request: HttpRequest) -> None:
    model_admin.message_user(request, _("These sessions had already ended."), messages.WARNING)


def _question(
    model_admin: "ModelAdmin",
    request: HttpRequest,
    numbers: Counter[Any],
    rows: SessionQuerySet,
    action: str,
    context: dict[str, Any],
) -> HttpResponse:
    most = numbers.most_common(_NAMES)
    names = _names(pk for pk, _number in most)
    devices = _newest(rows, _described)
    context |= {
        **model_admin.admin_site.each_context(request),
        "title": _("End sessions"),
        "subtitle": None,
        "opts": model_admin.opts,
        "breadcrumbs_in_list": BREADCRUMBS_IN_LIST,
        "media": model_admin.media,
        "summary": _summary(numbers.total(), len(numbers)),
        "users": [(names[pk], _sessions(number), devices[pk]) for pk, number in most],
        "more_users": len(numbers) - len(most),
        "action": action,
        "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        "select_across": request.POST.get("select_across") == "1",
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/tokens/end_sessions.html", context)


def _newest(rows: SessionQuerySet, shown: Callable[[TokenSession], T]) -> dict[Any, list[T]]:
    """Return what ``shown`` says of the newest sessions, by user."""
    found: dict[Any, list[T]] = defaultdict(list)
    for session in rows.prefetch_related(None).order_by(by_sorting("-sid"))[:_NAMES]:
        found[session.user_id].append(shown(session))
    return found


def _described(session: TokenSession) -> str:
    """Return the device of a session, its address, and when it logged in, as HTML."""
    since = format_html(_("logged in {}"), relative(session.created_at))
    return format_html_join(", ", "{}", [(fact,) for fact in (*_known(session), since)])


def _named(session: TokenSession) -> str:
    """Return the id of a session, its device and its address."""
    known = ", ".join(_known(session))
    return f"{session.pk} ({known})" if known else str(session.pk)


def _known(session: TokenSession) -> list[str]:
    device = sessions.device_of(session)
    return [fact for fact in (device, session.ip_address) if fact]


def _log(
    request: HttpRequest,
    numbers: Counter[Any],
    known: dict[Any, list[str]],
    sids: Iterable[UUID],
) -> None:
    # Log before ending: a line too many is better than a missing one.
    logger.info(
        "user %s (%r) ends %s in the admin; users: %s; sessions: %s",
        request.user.pk,
        request.user.get_username(),
        _summary(numbers.total(), len(numbers)),
        _some(list(numbers), len(numbers)),
        _some(_with_devices(sids, known), numbers.total()),
        extra={
            "event": "sessions_ended_in_admin",
            "by": str(request.user.pk),
            "sessions": numbers.total(),
            "users": len(numbers),
        },
    )


def _record(
    model_admin: "ModelAdmin",
    request: HttpRequest,
    numbers: Counter[Any],
    known: dict[Any, list[str]],
    ended: int,
) -> None:
    """Record what was done in the admin's history, and tell the person who did it.

    Each user's history gets a record. Above MAX_USERS users, a single record covers them all.
    """
    summary = _summary(ended, len(numbers))
    if len(numbers) <= MAX_USERS:
        acts = [
            to_user(pk, name, _what_ended(numbers[pk], known[pk]))
            for pk, name in _names(numbers).items()
        ]
    else:
        acts = [Act(TokenSession, None, summary, _("Ended %s.") % summary)]
    record(request, acts)
    model_admin.message_user(request, _("Ended %s.") % summary, messages.SUCCESS)


def _what_ended(number: int, known: list[str]) -> str:
    """Return what stands in the history of a user: how many sessions, and some of them."""
    text = _("Ended %s") % _sessions(number)
    return f"{text}: {'; '.join(known)}" if known else f"{text}."


def _names(pks: Iterable[Any]) -> dict[Any, str]:
    """Return the users' names, or the ids of deleted users."""
    found = everyone(database()).in_bulk(pks := list(pks))
    return {pk: found[pk].get_username() if pk in found else _("%s (deleted)") % pk for pk in pks}


def _summary(number: int, users: int) -> str:
    text = ngettext("%(sessions)s of %(users)s user", "%(sessions)s of %(users)s users", users)
    return text % {
        "sessions": _sessions(number),
        "users": number_format(users, force_grouping=True),
    }


def _sessions(number: int) -> str:
    text = ngettext("%s session", "%s sessions", number)
    return text % number_format(number, force_grouping=True)


def _some(ids: list[Any], total: int) -> str:
    text = ", ".join(str(one) for one in ids[:_IDS])
    return text if total <= _IDS else f"{text} and {total - _IDS} more"


def _with_devices(sids: Iterable[UUID], known: dict[Any, list[str]]) -> list[str]:
    """Return the ids, with the device and the address of those that are known."""
    texts = {text[:36]: text for texts in known.values() for text in texts}
    return [texts.get(str(sid), str(sid)) for sid in sids]
