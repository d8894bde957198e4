"""End sessions from the admin: ask first, then end them and record it.

Both steps are bounded, because a selection may be "all 10,000 and more".
"""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import blacklist, sessions
from ..keys import session_uuid
from ..models import BlacklistEntry, TokenSession
from ..querysets import SessionQuerySet
from ..users import everyone
from .base import CappedPaginator

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]

logger = logging.getLogger("tokens")

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
        return _question(model_admin, request, numbers, "end_selected", context)
    _log(request, numbers, sids)
    ended = sessions.end_by_ids(sids, reason=_REASON)
    _record(model_admin, request, numbers, ended)
    return None


def end_everywhere(
    model_admin: "ModelAdmin", request: HttpRequest, users: Iterable[Any], *, action: str
) -> HttpResponse | None:
    """Log these users (given by primary key) out everywhere, unless they exceed MAX_USERS.

    ``action`` is the name of the calling action; the confirmation page submits it again.
    """
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
    rows = TokenSession.objects.using(blacklist.database()).filter(user__in=pks)
    counted = rows.order_by().values_list("user_id").annotate(Count("pk"))
    numbers = Counter(dict.fromkeys(pks, 0) | dict(counted))
    if not request.POST.get("post"):
        selected = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        context = {"selected": selected, "until": None, "everywhere": True}
        return _question(model_admin, request, numbers, action, context)
    _log(request, numbers, rows.order_by("-sid").values_list("sid", flat=True)[:_IDS])
    found = everyone().in_bulk(pks)
    ended = sum(
        sessions.end_all(found[pk], reason=_REASON)
        if pk in found
        else sessions.end_many(rows.of_user(pk), reason=_REASON)
        for pk in pks
    )
    _record(model_admin, request, numbers, ended)
    return None


def _say_ended_already(model_admin: "ModelAdmin", request: HttpRequest) -> None:
    model_admin.message_user(request, _("These sessions had already ended."), messages.WARNING)


def _question(
    model_admin: "ModelAdmin",
    request: HttpRequest,
    numbers: Counter[Any],
    action: str,
    context: dict[str, Any],
) -> HttpResponse:
    most = numbers.most_common(_NAMES)
    names = _names(pk for pk, _number in most)
    context |= {
        **model_admin.admin_site.each_context(request),
        "title": _("End sessions"),
        "subtitle": None,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "summary": _summary(numbers.total(), len(numbers)),
        "users": [(names[pk], _sessions(number)) for pk, number in most],
        "more_users": len(numbers) - len(most),
        "action": action,
        "action_checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        "select_across": request.POST.get("select_across") == "1",
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/tokens/end_sessions.html", context)


def _log(request: HttpRequest, numbers: Counter[Any], sids: Iterable[UUID]) -> None:
    # Log before ending: a line too many is better than a missing one.
    logger.info(
        "user %s (%r) ends %s in the admin; users: %s; sessions: %s",
        request.user.pk,
        request.user.get_username(),
        _summary(numbers.total(), len(numbers)),
        _some(list(numbers), len(numbers)),
        _some(list(sids), numbers.total()),
        extra={
            "event": "sessions_ended_in_admin",
            "by": str(request.user.pk),
            "sessions": numbers.total(),
            "users": len(numbers),
        },
    )


def _record(
    model_admin: "ModelAdmin", request: HttpRequest, numbers: Counter[Any], ended: int
) -> None:
    """Record what was done in the admin's history, and tell the person who did it.

    Each user's history gets a record. Above MAX_USERS users, a single record covers them all.
    """
    summary = _summary(ended, len(numbers))
    if len(numbers) <= MAX_USERS:
        about = ContentType.objects.get_for_model(get_user_model())
        objects: list[tuple[str | None, str, str]] = [
            (str(pk), name, _("Ended %s.") % _sessions(numbers[pk]))
            for pk, name in _names(numbers).items()
        ]
    else:
        about = ContentType.objects.get_for_model(TokenSession)
        objects = [(None, summary, _("Ended %s.") % summary)]
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=cast(AbstractBaseUser, request.user).pk,
            content_type=about,
            object_id=object_id,
            object_repr=text[:200],
            action_flag=CHANGE,
            change_message=message,
        )
        for object_id, text, message in objects
    )
    model_admin.message_user(request, _("Ended %s.") % summary, messages.SUCCESS)


def _names(pks: Iterable[Any]) -> dict[Any, str]:
    """Return the users' names, or the ids of deleted users."""
    found = everyone().in_bulk(pks := list(pks))
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
