"""What the admin's pages read: each statement a bounded part of a table, however large it is.

Counted is what the database itself counts: rows, or on SQLite the instructions of its machine.
"""

import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tokens import clock
from tokens.admin import BlacklistEntryAdmin, TokenSessionAdmin, front, waiting
from tokens.admin.entries import EntryList
from tokens.admin.lists import CappedPaginator
from tokens.admin.sessions import SessionList
from tokens.cleanup import backlog
from tokens.models import BlacklistEntry, CleanupRun, TokenSession
from tokens.querysets import RARE_REASONS

from .conftest import NOT_STATEMENTS

USERS = 500
ROWS_ON_PAGE = 10  # or to render takes most of the time

# Of a whole table, a statement may read this part. Without a bound or an index it reads all of it.
PART = 1 / 8
MOST_STATEMENTS = 12

# SQLite keeps no statistics of the values in a column. So it goes by the end of entries and
# sessions where their order would be better, and sorts what it finds.
SORTED_BY_SQLITE = {"entries, status=in_force", "sessions, address", "sessions, no address"}


@dataclass(frozen=True)
class Size:
    """How large the tables are, and the bounds beside them."""

    entries: int
    bound: int  # for what pages count, and three times as many to look through

    @property
    def sessions(self) -> int:
        return self.entries // 2


class Work:
    """How much the database has read for us."""

    done = 0


@contextmanager
def counted() -> Iterator[Work]:
    work, before = Work(), _read()
    calls = 0  # of ten instructions each

    def tick() -> None:
        nonlocal calls
        calls += 1

    if connection.vendor == "sqlite":
        connection.connection.set_progress_handler(tick, 10)
    try:
        yield work
    finally:
        if connection.vendor == "sqlite":
            connection.connection.set_progress_handler(None, 0)
    work.done = calls if connection.vendor == "sqlite" else _read() - before


def _read() -> int:
    if connection.vendor == "sqlite":
        return 0
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))"
                " FROM pg_stat_xact_user_tables WHERE relname LIKE 'tokens%'"
            )
            return int(cursor.fetchone()[0])
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_%'")
        names = ("Handler_read", "Handler_icp_attempts")
        return sum(int(number) for name, number in cursor.fetchall() if name.startswith(names))


def run(sql: str, parameters: Any = None) -> int:
    """Execute a statement, and return how much it read."""
    # PostgreSQL counts for each transaction.
    with transaction.atomic(), connection.cursor() as cursor, counted() as work:
        cursor.execute(sql, parameters)
        cursor.fetchall()
    return work.done


@contextmanager
def asked() -> Iterator[list[tuple[str, Any]]]:
    """Give what is asked of our tables meanwhile."""
    found: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and "tokens_" in sql:
            found.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        yield found


def analyze() -> None:
    tables = [model._meta.db_table for model in (BlacklistEntry, TokenSession, User)]
    with connection.cursor() as cursor:
        for table in tables:
            kind = "TABLE " if connection.vendor == "mysql" else ""
            cursor.execute(f"ANALYZE {kind}{connection.ops.quote_name(table)}")
            if connection.vendor == "mysql":
                cursor.fetchall()


def uuid7(moment: Any) -> uuid.UUID:
    """Return an id like that of a session that began then."""
    milliseconds = int(clock.to_epoch(moment) * 1_000)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | secrets.randbits(62))


def fill(users: list[User], size: Size) -> None:
    """Two weeks of a live system; the first user was busy long ago, and does nothing since."""
    now, day = clock.now(), timedelta(days=1)
    reasons = ["logout"] * 7 + ["rotated", "limit", "logout_all"]
    rare, old = list(RARE_REASONS), size.bound * 3 // 2

    def entries() -> Iterator[BlacklistEntry]:
        for number in range(size.entries):
            made = now - 14 * day * (1 - number / size.entries)
            scope = "session" if number % 8 else "token"
            reason = rare[number // 40 % 7] if number % 40 == 0 else reasons[number % 10]
            if size.entries // 2 > number > 100:  # none lately
                reason = "id_change" if number % 50 == 0 else reason
            yield BlacklistEntry(
                key=uuid7(made) if scope == "session" else uuid.uuid4(),
                scope=scope,
                subject=f"subject{number}",
                user=users[0] if number < old else users[1 + number % (USERS - 1)],
                reason=reason,
                created_at=made,
                expires_at=made + day * (1 + number * 7919 % 20),
            )

    def sessions() -> Iterator[TokenSession]:
        for number in range(size.sessions):
            made = now - 14 * day * (1 - number / size.sessions)
            yield TokenSession(
                sid=uuid7(made),
                user=users[0] if number < old else users[1 + number % (USERS - 1)],
                refresh_jti=f"jti{number}",
                created_at=made,
                last_used_at=made,
                expires_at=made + day * 15,
                ip_address=f"203.0.{number % 200}.{number // 200}",
                user_agent="curl/8",
            )

    BlacklistEntry.objects.bulk_create(entries(), batch_size=2_000)
    TokenSession.objects.bulk_create(sessions(), batch_size=2_000)


LIST_OF_ENTRIES, LIST_OF_SESSIONS = "/admin/tokens/blacklistentry/", "/admin/tokens/tokensession/"
ADDRESS = "203.0.113.7"


def pages(users: list[User]) -> dict[str, str]:
    busy, other = users[0], users[7]
    entry = BlacklistEntry.objects.filter(scope="session").order_by("-created_at")[100]
    session = TokenSession.objects.order_by("-sid")[100]
    run = CleanupRun.objects.create(outcome="failed", trigger="cron")
    filters = [
        *(f"reason__exact={reason}" for reason in BlacklistEntry.Reason.values),
        *(f"scope__exact={scope}" for scope in BlacklistEntry.Scope.values),
        *(f"status={status}" for status in ("in_force", "expired", "for_good")),
        *(f"revoked={span}" for span in ("hour", "day", "week")),
        *(f"{one}&reason__exact=reuse" for one in ("status=in_force", "status=expired")),
        *(f"revoked=day&reason__exact={reason}" for reason in ("reuse", "limit", "deletion")),
        "o=4&reason__exact=reuse",
        "scope__exact=token&reason__exact=deletion",
        "status=in_force&scope__exact=user&reason__exact=logout_all",
        *("o=4", "o=-4", "o=3", "p=2"),
    ]
    of_both = [
        *(f"user={user.pk}" for user in (busy, other)),
        *(f"q={user.username}" for user in (busy, other)),
        "q=user12",
        "q=nobody",
    ]
    return {
        "front page": "/admin/tokens/",
        "index": "/admin/",
        "entries": LIST_OF_ENTRIES,
        **{f"entries, {one}": f"{LIST_OF_ENTRIES}?{one}" for one in (*filters, *of_both)},
        "entries, id": f"{LIST_OF_ENTRIES}?q={entry.pk}",
        "entry": f"{LIST_OF_ENTRIES}{entry.pk}/change/",
        "un-revoke": f"{LIST_OF_ENTRIES}{entry.pk}/delete/",
        "sessions": LIST_OF_SESSIONS,
        **{f"sessions, {one}": f"{LIST_OF_SESSIONS}?{one}" for one in ("p=2", *of_both)},
        "sessions, id": f"{LIST_OF_SESSIONS}?q={session.pk}",
        "sessions, address": f"{LIST_OF_SESSIONS}?q={session.ip_address}",
        "sessions, no address": f"{LIST_OF_SESSIONS}?q=192.0.2.1",
        "session": f"{LIST_OF_SESSIONS}{session.pk}/change/",
        "end": f"{LIST_OF_SESSIONS}{session.pk}/end/",
        **{
            f"end all of user {number}": f"{LIST_OF_SESSIONS}of/{user.pk}/end/"
            for number, user in enumerate((busy, other))
        },
        **{
            f"user {number}": f"/admin/auth/user/{user.pk}/change/"
            for number, user in enumerate((busy, other))
        },
        "runs": "/admin/tokens/cleanuprun/",
        "runs, failed": "/admin/tokens/cleanuprun/?outcome=failed",
        "run": f"/admin/tokens/cleanuprun/{run.pk}/change/",
    }


@pytest.fixture(
    params=[Size(12_000, 60), pytest.param(Size(40_000, 200), marks=pytest.mark.thorough)], ids=str
)
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Size:
    """Make the bounds as small beside the tables as they are beside large ones."""
    size: Size = request.param
    for owner, name in (
        (CappedPaginator, "cap"),
        (front, "MAX_COUNT"),
        (waiting, "MAX_COUNT"),
        (backlog, "BACKLOG_LIMIT"),
    ):
        bound = size.bound if name != "MAX_COUNT" else size.bound // 4
        monkeypatch.setattr(owner, name, bound)
    for looking in (EntryList, front, SessionList):
        monkeypatch.setattr(looking, "LOOKED_THROUGH", 3 * size.bound)
    for kind in (BlacklistEntryAdmin, TokenSessionAdmin):
        monkeypatch.setattr(kind, "list_per_page", ROWS_ON_PAGE)
    return size


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)  # on MariaDB, ANALYZE commits
def test_no_page_reads_a_whole_table(staff: Callable[..., Client], size: Size) -> None:
    users = [User(username=f"user{n}", email=f"user{n}@example.com") for n in range(USERS)]
    User.objects.bulk_create(users)
    users = list(User.objects.order_by("pk"))
    fill(users, size)
    analyze()
    whole = {
        model._meta.db_table: run(
            f"SELECT COUNT(*) FROM {model._meta.db_table} WHERE {column} <> 'x'"
        )
        for model, column in ((BlacklistEntry, "subject"), (TokenSession, "refresh_jti"))
    }
    assert min(whole.values()) > 1_000
    client = staff(is_superuser=True)
    too_much, too_many = {}, {}
    known = SORTED_BY_SQLITE if connection.vendor == "sqlite" else set()
    for name, url in pages(users).items():
        with asked() as statements, CaptureQueriesContext(connection) as ran:
            assert client.get(url).status_code == 200, name
        number = len([one for one in ran if not one["sql"].startswith(NOT_STATEMENTS)])
        if number > MOST_STATEMENTS:
            too_many[name] = number
        for sql, parameters in statements if name not in known else ():
            table = next((one for one in whole if one in sql), None)
            if table and (read := run(sql, parameters)) > whole[table] * PART:
                too_much[name, sql[sql.find(" FROM ") :]] = f"{read / whole[table]:.0%}"
    assert not too_much, "\n".join(map(str, too_much.items()))
    assert too_many == {}
