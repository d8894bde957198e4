"""What differs between databases stands in one place, and what is not supported says so."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.dummy.base import DatabaseWrapper as DummyWrapper
from django.db.backends.mysql.base import DatabaseWrapper as MySQLWrapper
from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQLWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper
from django.db.models import Value
from django.test import Client, RequestFactory
from rest_framework.test import APIClient

import tokens
from tokens import (
    blacklist,
    cleanup,
    clock,
    databases,
    old_tables,
    sessions,
    simplejwt_import,
    snapshot,
)
from tokens.admin import ending
from tokens.admin.search import users_named
from tokens.checks import protection
from tokens.cleanup import batches
from tokens.databases import UnsupportedDatabase, error_code
from tokens.databases.either import MariaDBOrMySQL
from tokens.databases.mariadb import MariaDB
from tokens.databases.mysql import MySQL
from tokens.databases.postgresql import PostgreSQL
from tokens.databases.sqlite import SQLite
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

from . import driver
from .conftest import PASSWORD, Login, bearer, better_hasher
from .forge import signed
from .private_server import free_port

SOURCES = Path(tokens.__file__).parent


class Yugabyte(PostgreSQLWrapper):
    vendor = "yugabyte"
    display_name = "YugabyteDB"


class Pooled(PostgreSQLWrapper):
    display_name = "PostgreSQL with a pool"


def nobody_answers(kind: type[BaseDatabaseWrapper], **changes: Any) -> BaseDatabaseWrapper:
    """Return a connection of this kind to a port where nothing listens."""
    where = {"ENGINE": kind.__module__, "HOST": "127.0.0.1", "PORT": free_port(), "NAME": "none"}
    return kind(connections["default"].settings_dict | where | changes, "default")


@contextmanager
def as_default(wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    real = connections["default"]
    connections["default"] = wrapper
    try:
        yield
    finally:
        connections["default"] = real


# Not Oracle: Django would write SQL for it, which the database that is really there can't read.
@pytest.fixture(params=["microsoft", "cockroachdb"])
def unsupported(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the database be of another vendor."""
    vendor: str = request.param
    monkeypatch.setattr(connections["default"], "vendor", vendor)
    return vendor


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (SQLiteWrapper, SQLite),
        (PostgreSQLWrapper, PostgreSQL),
        (Pooled, PostgreSQL),
        (MySQLWrapper, MariaDBOrMySQL),
    ],
)
def test_which_database_it_is_shows_without_connecting(
    kind: type[BaseDatabaseWrapper], expected: type
) -> None:
    wrapper = nobody_answers(kind)
    assert type(databases.of(wrapper)) is expected
    assert databases.supports(wrapper)
    assert wrapper.connection is None


@pytest.mark.parametrize("kind", [SQLite, PostgreSQL, MariaDBOrMySQL, MariaDB, MySQL])
def test_each_database_has_an_answer_to_each_question(kind: type[databases.Database]) -> None:
    for name in databases.Database.__annotations__:
        if kind is not MariaDBOrMySQL or name != "KEEP_THE_LATER_END":  # each has its own
            assert getattr(kind, name) is not None
    assert not kind.__abstractmethods__


def test_no_other_module_names_a_database() -> None:
    names = re.compile(r"vendor|postgres|mysql|mariadb|sqlite|oracle")
    found = {
        str(path.relative_to(SOURCES)): names.findall(path.read_text())
        for path in SOURCES.rglob("*.py")
        if path.relative_to(SOURCES).parts[0] != "migrations"
    }
    naming = {path for path, matches in found.items() if matches}
    assert "databases/__init__.py" in naming
    assert {path for path in naming if not path.startswith("databases/")} == set()


@pytest.mark.django_db
def test_an_entry_that_is_there_is_only_ever_extended(user: AbstractUser) -> None:
    RefreshToken.for_user(user)
    rows = TokenSession.objects.of_user(user.pk)
    ends = [clock.now() + timedelta(days=days) for days in (3, 5, 4)]
    for end, reason in zip(ends, ("first", "second", "third"), strict=True):
        rows.update(expires_at=end)
        blacklist.revoke_sessions(rows, reason=reason)
    entry = BlacklistEntry.objects.get()
    assert (entry.reason, entry.expires_at) == ("first", max(ends))


def as_raised(args: tuple[Any, ...], **attributes: Any) -> OperationalError:
    """Return Django's error after one of a driver with these attributes."""
    cause = type("DriversError", (Exception,), attributes)(*args)
    error = OperationalError(*args)
    error.__cause__ = cause
    return error


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(as_raised(("waited",), sqlstate="55P03"), "55P03", id="psycopg 3"),
        pytest.param(as_raised(("waited",), pgcode="55P03"), "55P03", id="psycopg2"),
        pytest.param(as_raised(("gone",), sqlstate=None), None, id="psycopg 3, not by the server"),
        pytest.param(as_raised(("gone",), pgcode=None), None, id="psycopg2, not by the server"),
        pytest.param(as_raised((1205, "waited"), sqlstate="HY000"), 1205, id="PyMySQL"),
        pytest.param(as_raised((1205, "waited")), 1205, id="mysqlclient"),
        pytest.param(as_raised(("database is locked",)), None, id="sqlite3"),
        pytest.param(as_raised(()), None, id="nothing"),
    ],
)
def test_what_the_server_says_is_read_from_the_error_of_any_driver(
    error: OperationalError, code: object
) -> None:
    assert error_code(error) == code
    if error.__cause__ is not None:
        assert error_code(error.__cause__) == code


NO_SUCH_TABLE = {"sqlite": None, "postgresql": "42P01", "mysql": 1146}


@pytest.mark.django_db(transaction=True)
def test_what_the_server_says_is_read_from_a_real_error() -> None:
    with pytest.raises(DatabaseError) as caught, connections["default"].cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")
    assert error_code(caught.value) == NO_SUCH_TABLE[connections["default"].vendor]


def test_the_driver_is_the_one_that_was_asked_for() -> None:
    assert driver.name() == os.environ.get("DRIVER", driver.name())


def is_mysql() -> bool:
    connection: Any = connections["default"]
    return connection.vendor == "mysql" and not connection.mysql_is_mariadb


@pytest.mark.django_db(transaction=True)
def test_nothing_of_ours_is_deprecated_on_mysql(user: AbstractUser) -> None:
    if not is_mysql():
        pytest.skip("MySQL warns of what it is about to drop")
    database = databases.of(connections["default"])
    RefreshToken.for_user(user)
    warnings = []
    with connections["default"].cursor() as cursor:

        def warned() -> None:
            cursor.execute("SHOW WARNINGS")
            warnings.extend(cursor.fetchall())

        blacklist.revoke_sessions(TokenSession.objects.of_user(user.pk), reason="logout")
        warned()
        database.others_at_work(1, None)
        warned()
        batches.delete(BlacklistEntry.objects.all(), clock.now(), limit=5)
        warned()
    assert warnings == []


class Blind:
    """Keeps the database from showing the newer of its two tables of connections."""

    def __init__(self, code: int | None) -> None:
        self._code, self.asked = code, list[str]()

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.asked.append(sql)
        if "performance_schema" not in sql:
            return execute(sql, params, many, context)
        if self._code is not None:
            raise OperationalError(self._code, "denied")
        return execute(f"{sql} WHERE id = 0", params, many, context)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", [1142, 1146, None], ids=["denied", "gone", "switched off"])
def test_mysql_without_its_new_table_of_connections_is_asked_by_the_old(code: int | None) -> None:
    if not is_mysql():
        pytest.skip("MySQL has two tables of connections")
    connection = connections["default"]
    connection.ensure_connection()
    other, blind = connection.copy(), Blind(code)

    def seen() -> bool:
        # Asked again, because a machine that stalls between the two asks too late.
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")
        blind.asked.clear()
        return databases.of(connection).others_at_work(1, None) == (True, None)

    try:
        with connection.execute_wrapper(blind):
            assert any(seen() for _ in range(50))
        assert len(blind.asked) == 2
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_is_not_taken_for_a_missing_table() -> None:
    if not is_mysql():
        pytest.skip("MySQL has two tables of connections")
    connection = connections["default"]
    with connection.execute_wrapper(Blind(2013)), pytest.raises(OperationalError):
        databases.of(connection).others_at_work(1, None)


# Unsupported


def test_an_unsupported_database_is_named_by_a_database_error(unsupported: str) -> None:
    with pytest.raises(DatabaseError, match=f"'default' \\({unsupported}, ") as raised:
        databases.of(connections["default"])
    assert isinstance(raised.value, UnsupportedDatabase)
    assert not databases.supports(connections["default"])
    assert "Supported are SQLite, PostgreSQL, MariaDB and MySQL." in str(raised.value)


ENTRY_POINTS: dict[str, Callable[[Any], object]] = {
    "end_all": sessions.end_all,
    "login": RefreshToken.for_user,
    "check": lambda _user: blacklist.is_revoked(AccessToken(signed(), verify=False).claims),
    "user": lambda _user: blacklist.user_of(AccessToken(signed(), verify=False).claims),
    "old tables": lambda _user: old_tables.are_there("default"),
    "import": lambda _user: simplejwt_import.run(using="default", longest=None),
    "cleanup": lambda _user: cleanup.run(),
    "preview": lambda _user: cleanup.preview(),
    "status": lambda _user: cleanup.status(),
    "clock": lambda _user: clock.database_now("default"),
    "search": lambda user: users_named(user.username[:2]),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_whatever_needs_it_raises_the_one_error_and_writes_nothing(
    name: str, user: AbstractUser, unsupported: str
) -> None:
    with pytest.raises(UnsupportedDatabase, match=unsupported):
        ENTRY_POINTS[name](user)
    for model in (BlacklistEntry, TokenSession, CleanupRun):
        assert not model.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_each_endpoint_answers_503_and_writes_nothing(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    login, other = Login(user), Login(user)
    monkeypatch.setattr(connections["default"], "vendor", "microsoft")
    api = APIClient(raise_request_exception=False)
    refresh = {"refresh": login.refresh_token}
    sid = AccessToken(other.access, verify=False).claims.sid
    calls = [
        ("post", "/api/token/", {"username": user.username, "password": PASSWORD}),
        ("post", "/api/token/refresh/", refresh),
        ("post", "/api/token/verify/", {"token": login.access}),
        ("post", "/api/token/verify/", {"token": login.refresh_token}),
        ("post", "/api/token/blacklist/", refresh),
        ("post", "/api/logout/", refresh),
        ("post", "/api/logout/", {}),
        ("post", "/api/logout/all/", {}),
        ("post", "/api/logout/others/", {}),
        ("get", "/api/sessions/", {}),
        ("delete", f"/api/sessions/{sid}/", {}),
        ("get", "/api/me/", {}),
    ]
    for method, path, body in calls:
        caplog.clear()
        answer = getattr(api, method)(path, body, **bearer(login.access))
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable"), path
        assert "microsoft" in caplog.text
    assert TokenSession.objects.count() == 2
    assert not BlacklistEntry.objects.exists()


NAMES_OF_PAGES = ("tokensession", "blacklistentry", "cleanuprun")


@pytest.mark.django_db(transaction=True)
def test_the_pages_of_the_admin_name_it(
    staff: Callable[..., Client], user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    Login(user)
    admin = staff("view_tokensession", "view_blacklistentry", "view_cleanuprun", "end_tokensession")
    admin.raise_request_exception = False
    monkeypatch.setattr(connections["default"], "vendor", "microsoft")
    session = TokenSession.objects.get()
    post = {"action": "end_selected", "_selected_action": [session.pk], "post": "yes"}
    pages = "/admin/tokens/"
    answers = [
        *(admin.get(f"{pages}{name}/") for name in NAMES_OF_PAGES),
        admin.get(f"{pages}tokensession/?q=ad"),
        admin.get(f"{pages}tokensession/{session.pk}/change/"),
        admin.post(f"{pages}tokensession/", post),
        ending.end_everywhere(Any, RequestFactory().get("/"), [user.pk], action="x"),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert b"(microsoft, by " in answer.content
    assert TokenSession.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_cached_checks_leave_the_question_to_the_database(unsupported: str, settings: Any) -> None:
    claims = replace(AccessToken(signed(), verify=False).claims, sid=new_sid())
    snapshot.reset()
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=5)
    assert unsupported in (snapshot.obstacle(connections["default"]) or "")
    assert snapshot.refuses(claims, using="default") is None


CHANGES: dict[str, Callable[[Any], object]] = {
    "password": lambda user: user.set_password("another"),
    "unusable": lambda user: user.set_unusable_password(),
    "deactivation": lambda user: setattr(user, "is_active", False),
    "expression": lambda user: setattr(user, "is_active", Value(value=False)),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fields", [None, ["password", "is_active"]])
@pytest.mark.parametrize("change", CHANGES)
def test_a_save_that_would_end_sessions_raises_it_before_anything_is_stored(
    change: str, fields: list[str] | None, user: AbstractUser, unsupported: str
) -> None:
    CHANGES[change](user)
    with pytest.raises(UnsupportedDatabase, match=unsupported):
        user.save(update_fields=fields)
    stored = type(user).objects.get()
    assert stored.check_password(PASSWORD)
    assert stored.is_active
    assert not BlacklistEntry.objects.exists()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_other_saves_of_users_are_none_of_our_business(
    user: AbstractUser, unsupported: str, settings: Any, make_user: Callable[..., AbstractUser]
) -> None:
    user.first_name = "Ada"
    user.save()
    user.set_password("another")
    user.save(update_fields=["first_name"])
    user.refresh_from_db()
    # A better hash of the same password ends nothing.
    with better_hasher(settings):
        user = type(user).objects.get()
        assert user.check_password(PASSWORD)
        assert type(user).objects.get().password.startswith("pbkdf2")
        make_user("grace")
    settings.TOKENS_REVOKE_ON = ()
    user.set_password("another")
    user.save()
    assert type(user).objects.get(pk=user.pk).check_password("another")


@pytest.mark.django_db(transaction=True)
def test_a_user_who_can_not_be_logged_out_is_not_deleted(
    user: AbstractUser, unsupported: str
) -> None:
    for delete in (user.delete, type(user).objects.all().delete):
        with pytest.raises(UnsupportedDatabase, match=unsupported):
            delete()
        assert type(user).objects.exists()


COMMANDS = [
    *(["cleanup_tokens"], ["cleanup_tokens", "--if-due"], ["cleanup_tokens", "--check"]),
    *(["cleanup_tokens", "--dry-run"], ["revoke_tokens", "--user", "ada"]),
    ["revoke_tokens", "--all-users", "--no-input"],
    *(["import_simplejwt_blacklist"], ["import_simplejwt_blacklist", "--drop"]),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_fails_with_one_line(
    words: list[str], user: AbstractUser, unsupported: str
) -> None:
    told = str(UnsupportedDatabase(connections["default"]))
    with pytest.raises(CommandError) as raised:
        call_command(*words, stdout=StringIO(), stderr=StringIO(), skip_checks=True)
    assert (str(raised.value), raised.value.returncode) == (told, 1)


@pytest.mark.django_db(transaction=True)
def test_migrate_leaves_other_apps_in_peace(unsupported: str) -> None:
    old_tables.look_after_migrate(using="default")


@pytest.mark.django_db(transaction=True)
def test_the_cleanup_says_so_and_fails(unsupported: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "tokens"), pytest.raises(CommandError, match=unsupported):
        call_command("cleanup_tokens", stdout=StringIO(), skip_checks=True)


def test_E025_a_database_that_is_not_supported(unsupported: str) -> None:
    found = [message for message in run_checks() if str(message.id).startswith("tokens.")]
    assert [message.id for message in found] == ["tokens.E025"]
    assert unsupported in found[0].msg


def test_E025_does_not_connect() -> None:
    wrapper = nobody_answers(Yugabyte)
    with as_default(wrapper):
        (message,) = protection.check_supported()
        assert protection.check_write_lock() == protection.check_time_zone() == []
    assert message.id == "tokens.E025"
    assert "yugabyte" in message.msg
    assert wrapper.connection is None


class Users:
    """Keeps users in a database of their own."""

    def db_for_write(self, model: type, **hints: Any) -> str | None:
        return "users" if model.__name__ == "User" else None


def test_E025_where_the_users_are(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = nobody_answers(Yugabyte)
    wrapper.alias = "users"
    known = {"default": connections["default"], "users": wrapper}
    monkeypatch.setattr(protection, "connections", known)
    settings.DATABASE_ROUTERS = [Users()]
    (message,) = protection.check_supported()
    assert (message.id, "'users'" in message.msg) == ("tokens.E025", True)


SAYS = {
    "PostgreSQL 15.17 on x86_64-pc-linux-gnu": False,
    "PostgreSQL 15.2-YB-2.25.1.0-b0 on x86_64-pc-linux-gnu": True,
    "CockroachDB CCL v25.2.1 (x86_64-pc-linux-gnu)": True,
    "PostgreSQL 8.0.2 on i686-pc-linux-gnu, Redshift 1.0.12103": True,
}
if connections["default"].vendor == "mysql":
    SAYS = {"10.11.14-MariaDB": False, "8.4.3": False, "8.0.11-TiDB-v8.5.0": True}
if connections["default"].vendor == "sqlite":
    SAYS = {"3.46.1": False}


@pytest.mark.django_db
@pytest.mark.parametrize("version", SAYS)
def test_E034_a_server_that_only_speaks_the_protocol(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert protection.check_servers(databases=["default"]) == []
    kind = type(databases.of(connections["default"]))
    monkeypatch.setattr(kind, "VERSION", f"SELECT '{version}'")
    found = protection.check_servers(databases=["default"])
    assert [message.id for message in found] == ["tokens.E034"] * SAYS[version]
    assert all(version in message.msg for message in found)
    assert protection.check_servers() == protection.check_servers(databases=["other"]) == []


@pytest.mark.django_db
def test_E034_is_no_finding_about_a_server_that_does_not_answer() -> None:
    with as_default(nobody_answers(PostgreSQLWrapper)):
        assert protection.check_servers(databases=["default"]) == []


def test_E025_leaves_a_project_without_databases_to_django() -> None:
    with as_default(nobody_answers(DummyWrapper, ENGINE="django.db.backends.dummy")):
        assert protection.check_supported() == []


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("kind", [SQLiteWrapper, PostgreSQLWrapper, MySQLWrapper])
def test_checks_of_a_supported_database_do_not_connect(
    kind: type[BaseDatabaseWrapper], use_tz: bool, settings: Any
) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Europe/Berlin"
    wrapper = nobody_answers(kind, OPTIONS={}, TIME_ZONE="Europe/Berlin" if use_tz else None)
    with as_default(wrapper):
        found = [
            *protection.check_supported(),
            *protection.check_write_lock(),
            *protection.check_time_zone(),
        ]
    takes_naive = kind is PostgreSQLWrapper
    expected = ["tokens.W013"] * (kind is SQLiteWrapper) + ["tokens.W014"] * (use_tz != takes_naive)
    assert [message.id for message in found] == expected
    assert wrapper.connection is None
