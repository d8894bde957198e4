"""What differs between databases stands in one place, and what is not supported says so."""

import logging
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
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.dummy.base import DatabaseWrapper as DummyWrapper
from django.db.backends.mysql.base import DatabaseWrapper as MySQLWrapper
from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQLWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper
from rest_framework.test import APIClient

import tokens
from tokens import blacklist, cleanup, clock, databases, sessions, snapshot
from tokens.admin.search import users_named
from tokens.checks import protection
from tokens.databases import UnsupportedDatabase
from tokens.databases.mysql import MySQL
from tokens.databases.postgresql import PostgreSQL
from tokens.databases.sqlite import SQLite
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

from .conftest import PASSWORD
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
        (MySQLWrapper, MySQL),
    ],
)
def test_which_database_it_is_shows_without_connecting(
    kind: type[BaseDatabaseWrapper], expected: type
) -> None:
    wrapper = nobody_answers(kind)
    assert type(databases.of(wrapper)) is expected
    assert databases.supports(wrapper)
    assert wrapper.connection is None


@pytest.mark.parametrize("kind", [SQLite, PostgreSQL, MySQL])
def test_each_database_has_an_answer_to_each_question(kind: type[databases.Database]) -> None:
    for name in databases.Database.__annotations__:
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
def test_a_login_answers_503(
    user: AbstractUser, unsupported: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = APIClient().post("/api/token/", {"username": user.username, "password": PASSWORD})
    assert answer.status_code == 503
    assert answer.json()["code"] == "service_unavailable"
    assert unsupported in caplog.text


@pytest.mark.django_db(transaction=True)
def test_cached_checks_leave_the_question_to_the_database(unsupported: str, settings: Any) -> None:
    claims = replace(AccessToken(signed(), verify=False).claims, sid=new_sid())
    snapshot.reset()
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=5)
    assert unsupported in (snapshot.obstacle(connections["default"]) or "")
    assert snapshot.refuses(claims, using="default") is None


@pytest.mark.django_db(transaction=True)
def test_saving_a_new_password_raises_it_too(user: AbstractUser, unsupported: str) -> None:
    user.set_password("another")
    with pytest.raises(UnsupportedDatabase, match=unsupported):
        user.save()
    assert not BlacklistEntry.objects.exists()


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


def test_E025_leaves_a_project_without_databases_to_django() -> None:
    with as_default(nobody_answers(DummyWrapper, ENGINE="django.db.backends.dummy")):
        assert protection.check_supported() == []


@pytest.mark.parametrize("kind", [SQLiteWrapper, PostgreSQLWrapper, MySQLWrapper])
def test_checks_of_a_supported_database_do_not_connect(
    kind: type[BaseDatabaseWrapper], settings: Any
) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    wrapper = nobody_answers(kind, OPTIONS={})
    with as_default(wrapper):
        found = [
            *protection.check_supported(),
            *protection.check_write_lock(),
            *protection.check_time_zone(),
        ]
    expected = {SQLiteWrapper: ["tokens.W013"], PostgreSQLWrapper: ["tokens.W014"]}
    assert [message.id for message in found] == expected.get(kind, [])
    assert wrapper.connection is None
