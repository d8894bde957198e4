"""Open the admin's pages, and tell the statements and the milliseconds of SQL of each."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import QuerySet
from django.test import Client

from benchmarks.inside.crowd import FIRST_USER
from tokens.admin.lists import CappedPaginator
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

_CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK", "SET ")
_ENTRIES, _SESSIONS = "/admin/tokens/blacklistentry/", "/admin/tokens/tokensession/"
_RUNS, _USERS = "/admin/tokens/cleanuprun/", "/admin/auth/user/"


class _Watch:
    def __init__(self) -> None:
        self.statements, self.seconds = 0, 0.0
        self.slowest: tuple[float, str] = (0.0, "")

    def __call__(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        began = perf_counter()
        try:
            return execute(sql, *rest)
        finally:
            took = perf_counter() - began
            self.seconds += took
            self.slowest = max(self.slowest, (took, sql))
            self.statements += not sql.startswith(_CONTROL)


def main(rounds: int) -> dict[str, Any]:
    """Return for each page the statements, the best milliseconds of SQL, and its slowest text."""
    boss = get_user_model().objects.create_superuser("boss", password="boss")
    client = Client(headers={"host": "localhost"})
    client.force_login(boss)
    for number in range(50):
        CleanupRun.objects.create(outcome="succeeded", trigger="cron", host=f"web-{number % 3}")
    found = {}
    for name, address in _pages().items():
        visits = [_visit(client, address) for _ in range(rounds)]
        best = min(visits, key=lambda watch: watch.seconds)
        found[name] = {
            "statements": best.statements,
            "milliseconds": best.seconds * 1_000,
            "slowest": best.slowest[1],
        }
    return found


def _visit(client: Client, address: str) -> _Watch:
    watch = _Watch()
    with connection.execute_wrapper(watch):
        answer = client.get(address)
    if answer.status_code != 200:
        raise AssertionError(f"{address} answered {answer.status_code}")
    return watch


def _last_page(rows: QuerySet[Any]) -> int:
    return -(-min(rows.count(), CappedPaginator.cap) // 50)


def _pages() -> dict[str, str]:
    entry = BlacklistEntry.objects.filter(scope="session").order_by("-created_at")[1_000]
    session = TokenSession.objects.order_by("-sid")[1_000]
    return {
        "front page": "/admin/tokens/",
        "admin's front page": "/admin/",
        **{name: _ENTRIES + query for name, query in _of_entries(entry, session).items()},
        "entry": f"{_ENTRIES}{entry.pk}/change/",
        "entry, un-revoke": f"{_ENTRIES}{entry.pk}/delete/",
        **{name: _SESSIONS + query for name, query in _of_sessions(session).items()},
        "session": f"{_SESSIONS}{session.pk}/change/",
        "session, end": f"{_SESSIONS}{session.pk}/end/",
        "user, end all": f"{_SESSIONS}of/{session.user_id}/end/",
        "runs": _RUNS,
        "runs, failed": f"{_RUNS}?outcome=failed",
        "user": f"{_USERS}{session.user_id}/change/",
    }


def _of_entries(entry: BlacklistEntry, session: TokenSession) -> dict[str, str]:
    reasons = ("logout", "rotated", "reuse", "password_change", "deactivation")
    both = "scope__exact=user&reason__exact=logout_all"
    return {
        "entries": "",
        "entries, last page": f"?p={_last_page(BlacklistEntry.objects.all())}",
        "entries, by end": "?o=5",
        **{f"entries, revoked {one}": f"?revoked={one}" for one in ("hour", "day", "week")},
        **{f"entries, {one}": f"?status={one}" for one in ("in_force", "expired", "for_good")},
        **{f"entries, {one}": f"?scope__exact={one}" for one in ("token", "session", "user")},
        **{f"entries, {one}": f"?reason__exact={one}" for one in reasons},
        "entries, in force, user, logout_all": f"?status=in_force&{both}",
        "entries, expired, reuse": "?status=expired&reason__exact=reuse",
        "entries, token, password_change": "?scope__exact=token&reason__exact=password_change",
        "entries, q=jti": "?q=3c1a9d2e6b0f4a7d8e5c9b1f2a3d4e5f",
        "entries, q=sid": f"?q={entry.key}",
        "entries, q=name": f"?q={_name(session)}",
        "entries, q=prefix": "?q=user11",
        "entries, q=other letter case": "?q=USER77@EXAMPLE.COM",
        "entries, of a person": f"?user={session.user_id}",
    }


def _of_sessions(session: TokenSession) -> dict[str, str]:
    return {
        "sessions": "",
        "sessions, last page": f"?p={_last_page(TokenSession.objects.live())}",
        "sessions, q=sid": f"?q={session.pk}",
        "sessions, q=address": f"?q={session.ip_address}",
        "sessions, q=unknown address": "?q=192.0.2.200",
        "sessions, q=name": f"?q={_name(session)}",
        "sessions, of a person": f"?user={session.user_id}",
    }


def _name(session: TokenSession) -> str:
    return f"user{session.user_id - FIRST_USER}@example.com"
