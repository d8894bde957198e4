"""Start the cleanup from the admin, or see what it would remove."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import Error, connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from .. import cleanup, retry
from ..cleanup import CleanupReport, Outcome, Preview
from ..log import logger
from ..models import CleanupRun
from .base import unsupported
from .history import Act, record
from .pages import url

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]

RIGHT = "tokens.run_cleanup"

# Below the time after which servers end a request: gunicorn's default is 30 seconds.
MAX_SECONDS = 20.0


def urls(model_admin: "ModelAdmin") -> list[Any]:
    """Return the address that the buttons on the list of runs send to."""

    def view(request: HttpRequest) -> HttpResponse:
        return _act(model_admin, request)

    # Each batch is a transaction of its own, which can't be inside one of the whole request.
    wrapped = model_admin.admin_site.admin_view(require_POST(view))
    for alias in connections:
        wrapped = transaction.non_atomic_requests(alias)(wrapped)
    return [path("run/", wrapped, name="tokens_cleanuprun_run")]


def _act(model_admin: "ModelAdmin", request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(RIGHT):
        raise PermissionDenied
    if (answer := unsupported()) is not None:
        return answer
    try:
        level, text = _run(request) if "run" in request.POST else _preview()
    except Error as error:
        level, text = messages.ERROR, retry.describe(error)
    model_admin.message_user(request, text, level)
    site = model_admin.admin_site
    back = url(site, CleanupRun, "changelist") if model_admin.has_view_permission(request) else None
    return HttpResponseRedirect(back or reverse(f"{site.name}:index"))


def _preview() -> tuple[int, str]:
    found = cleanup.preview()
    if not found.expired and not _unknown(found):
        return messages.INFO, _("A run would remove nothing.")
    entries = _entries(found.entries_expired, more=found.entries_expired_at_least)
    sessions = _sessions(found.sessions_expired, more=found.sessions_expired_at_least)
    text = _("A run would remove %(entries)s and %(sessions)s.")
    return messages.INFO, text % {"entries": entries, "sessions": sessions}


def _unknown(found: Preview) -> bool:
    return found.entries_expired_at_least or found.sessions_expired_at_least


def _run(request: HttpRequest) -> tuple[int, str]:
    # Log before acting: a line too many is better than a missing one.
    logger.info(
        "user %s (%r) starts the cleanup in the admin",
        request.user.pk,
        request.user.get_username(),
        extra={"event": "cleanup_started_in_admin", "by": str(request.user.pk)},
    )
    report = cleanup.run(trigger="admin", max_seconds=MAX_SECONDS)
    level, text = _told(report)
    if report.run_id is not None:
        record(request, [Act(CleanupRun, report.run_id, _("cleanup"), text)])
    return level, text


def _told(report: CleanupReport) -> tuple[int, str]:
    if report.outcome == cleanup.SKIPPED:
        return messages.WARNING, _("Another cleanup is running: nothing was done.")
    done = {
        "entries": _entries(report.entries_removed),
        "sessions": _sessions(report.sessions_removed),
        "error": report.error,
    }
    match report.outcome:
        case Outcome.SUCCEEDED:
            return messages.SUCCESS, _("Removed %(entries)s and %(sessions)s.") % done
        case Outcome.PARTIAL:
            text = _("Removed %(entries)s and %(sessions)s. Rows are left: run it again.")
            return messages.WARNING, text % done
    text = _("The cleanup failed after it removed %(entries)s and %(sessions)s: %(error)s")
    return messages.ERROR, text % done


def _entries(number: int, *, more: bool = False) -> str:
    return _counted(ngettext("%s entry", "%s entries", number), number, more=more)


def _sessions(number: int, *, more: bool = False) -> str:
    return _counted(ngettext("%s session", "%s sessions", number), number, more=more)


def _counted(text: str, number: int, *, more: bool) -> str:
    counted = text % number_format(number, force_grouping=True)
    return _("more than %s") % counted if more else counted
