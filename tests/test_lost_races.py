"""A transaction that loses a race is tried again, unless it is the caller's."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import psycopg.errors
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.test import Client
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import blacklist, databases, retry, sessions, signals
from tokens.claims import Claims
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import PASSWORD, Login
from .databases import THOROUGH
from .threads import each_at_once

pytestmark = pytest.mark.django_db(transaction=True)

ATTEMPTS = 1 + len(retry.RACE_WAITS)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RACE_WAITS", (0,) * len(retry.RACE_WAITS))
    monkeypatch.setattr(retry, "AT_ONCE", 60)  # a busy machine is slow to lose


def lost() -> Exception:
    """Return the error with which the database of the test says that a race was lost."""
    if connection.vendor == "mysql":
        return OperationalError(1213, "Deadlock found when trying to get lock")
    if connection.vendor == "sqlite":
        return OperationalError("database is locked")
    error = OperationalError("could not serialize access")
    error.__cause__ = psycopg.errors.SerializationFailure()
    return error


class Races:
    """Lose a race at the statement number ``at`` of ours, or at each; count our statements."""

    def __init__(self, at: int | None = None, *, always: bool = False) -> None:
        self.at, self.always = at, always
        self.seen = self.lost = 0
        self.is_ours = False

    def statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: Any, context: Any
    ) -> Any:
        if "tokens_" in sql or "FOR UPDATE" in sql:
            self.is_ours = True
            self._strike()
        return execute(sql, params, many, context)

    def commit(self, commit: Callable[[], None]) -> None:
        if self.is_ours:
            self.is_ours = False
            self._strike()
        commit()

    def _strike(self) -> None:
        self.seen += 1
        if self.always or self.seen - 1 == self.at:
            self.lost += 1
            raise lost()


@contextmanager
def racing(monkeypatch: pytest.MonkeyPatch, races: Races) -> Iterator[Races]:
    commit = connection._commit
    with monkeypatch.context() as patch, connection.execute_wrapper(races.statement):
        patch.setattr(connection, "_commit", lambda: races.commit(commit))
        yield races


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Record the signals of sessions that are sent."""
    names = ("session_started", "session_refreshed", "session_ended", "refresh_reuse_detected")
    sent: list[str] = []
    receivers = []
    for name in names:

        def receive(*, name: str = name, **_: Any) -> None:
            sent.append(name)

        receivers.append(receive)
        getattr(signals, name).connect(receive)
    yield sent
    for name, receive in zip(names, receivers, strict=True):
        getattr(signals, name).disconnect(receive)


def someone(number: int = 0) -> Any:
    """Return a new user with two logins and a token of plain simplejwt."""
    user: Any = get_user_model().objects.create_user(f"user-{number}", password=PASSWORD)
    one, other = RefreshToken.for_user(user), RefreshToken.for_user(user)
    return SimpleNamespace(
        user=user,
        refresh=str(one),
        access=str(one.access_token),
        other=str(other),
        plain=str(PlainRefreshToken.for_user(user)),
        claims=Claims.of(one),
        sid=one.claims.sid,
        api=APIClient(),
        bearer={"HTTP_AUTHORIZATION": f"Bearer {one.access_token}"},
    )


def answer(response: Any) -> Any:
    body = response.json() if response.content else None
    return response.status_code, sorted(body) if isinstance(body, dict) else body


def change_password(who: Any) -> str:
    who.user.set_password("another password of theirs")
    who.user.save()
    return "saved"


def deactivate(who: Any) -> str:
    who.user.is_active = False
    who.user.save()
    return "saved"


def reuse(who: Any) -> Any:
    """Use a refresh token whose successor was used, too."""
    for _ in range(2):
        newest = RefreshToken(who.refresh)
        newest.use(lambda _user: True)
        who.refresh, who.first = str(newest), getattr(who, "first", who.refresh)
    return answer(who.api.post("/api/token/refresh/", {"refresh": who.first}))


def unrevoke(who: Any) -> int:
    blacklist.revoke_token(who.claims)
    blacklist.unrevoke(BlacklistEntry.objects.all(), by=who.user)
    return 0


# By name: what it does with a user, as a client or in Python.
DOORS: dict[str, Callable[[Any], Any]] = {
    "login": lambda who: answer(
        who.api.post("/api/token/", {"username": who.user.username, "password": PASSWORD})
    ),
    "refresh": lambda who: answer(who.api.post("/api/token/refresh/", {"refresh": who.refresh})),
    "adoption": lambda who: answer(who.api.post("/api/token/refresh/", {"refresh": who.plain})),
    "reuse": reuse,
    "a request": lambda who: answer(who.api.get("/api/me/", **who.bearer)),
    "verify": lambda who: answer(who.api.post("/api/token/verify/", {"token": who.access})),
    "logout": lambda who: answer(who.api.post("/api/logout/", {"refresh": who.refresh})),
    "logout by header": lambda who: answer(who.api.post("/api/logout/", **who.bearer)),
    "logout of a plain token": lambda who: answer(
        who.api.post("/api/logout/", {"refresh": who.plain})
    ),
    "blacklist": lambda who: answer(
        who.api.post("/api/token/blacklist/", {"refresh": who.refresh})
    ),
    "logout/all": lambda who: answer(who.api.post("/api/logout/all/", **who.bearer)),
    "logout/others": lambda who: answer(who.api.post("/api/logout/others/", **who.bearer)),
    "delete": lambda who: answer(who.api.delete(f"/api/sessions/{who.sid}/", **who.bearer)),
    "sessions": lambda who: answer(who.api.get("/api/sessions/", **who.bearer)),
    "end": lambda who: sessions.end(who.claims)[1],
    "end_all": lambda who: sessions.end_all(who.user),
    "end_for": lambda who: sessions.end_for([who.user]).sessions,
    "end_one": lambda who: sessions.end_one(who.user, who.sid),
    "end_by_ids": lambda who: sessions.end_by_ids([UUID(who.sid)], reason="admin"),
    "revoke_token": lambda who: blacklist.revoke_token(who.claims)[1],
    "revoke_session": lambda who: blacklist.revoke_session(
        who.sid, expires_at=who.claims.expires_at
    )[1],
    "revoke_user": lambda who: blacklist.revoke_user(who.user.pk, str(who.user.pk))[1],
    "unrevoke": unrevoke,
    "for_user": lambda who: bool(RefreshToken.for_user(who.user)),
    "AccessToken.for_user": lambda who: bool(AccessToken.for_user(who.user)),
    "a password": change_password,
    "deactivation": deactivate,
    "revoke_tokens --user": lambda who: call_command(
        "revoke_tokens", user=who.user.username, verbosity=0
    ),
    "revoke_tokens --session": lambda who: call_command(
        "revoke_tokens", session=who.sid, verbosity=0
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_a_lost_race_changes_nothing_wherever_it_is_lost(
    door: str, told: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tokens")

    def play(number: int, races: Races) -> Any:
        who = someone(number)
        told.clear()
        caplog.clear()
        with racing(monkeypatch, races):
            result = DOORS[door](who)
        events = [getattr(one, "event", None) for one in caplog.records if one.name == "tokens"]
        lines = [event for event in events if event != "retry"]
        left = BlacklistEntry.objects.count(), TokenSession.objects.count()
        BlacklistEntry.objects.all().delete()
        TokenSession.objects.all().delete()
        return result, list(told), lines, left

    expected = play(0, clean := Races())
    assert clean.seen
    for at in range(clean.seen):
        races = Races(at)
        assert play(at + 1, races) == expected, f"lost at statement {at} of {clean.seen}"
        assert races.lost == 1


@pytest.mark.parametrize("door", ["end_all", "end", "revoke_user", "for_user", "a password"])
def test_in_a_transaction_of_the_callers_the_error_is_the_callers(
    door: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    who = someone()
    told.clear()
    races = Races(always=True)
    with (
        pytest.raises(OperationalError),
        racing(monkeypatch, races),
        transaction.atomic(),
    ):
        DOORS[door](who)
    assert races.lost == 1
    assert told == []
    assert not BlacklistEntry.objects.exists()
    assert TokenSession.objects.count() == 2


@pytest.mark.parametrize("door", ["logout", "logout by header", "logout/all", "refresh", "login"])
def test_who_loses_again_and_again_is_told_so(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    who = someone()
    with racing(monkeypatch, Races(always=True)) as races:
        status, _ = DOORS[door](who)
    assert status == 503
    # Each attempt of whoever gives up last, and not each of those times each of its callers'.
    assert races.lost == ATTEMPTS


def test_an_error_that_is_no_lost_race_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    who, calls = someone(), []

    def fail(*_: Any) -> Any:
        calls.append(1)
        raise OperationalError("the disk is full")

    with connection.execute_wrapper(fail), pytest.raises(OperationalError):
        blacklist.revoke_user(who.user.pk, str(who.user.pk))
    assert len(calls) == 1


def test_a_lock_that_was_waited_for_is_not_waited_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    moments = iter((0.0, 61.0))
    # Not the module's own, which pytest and its threads ask for the time as well.
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: next(moments)))

    @retry.lost_races
    def wait_in_vain() -> None:
        calls.append(1)
        raise OperationalError("database is locked")

    with pytest.raises(OperationalError):
        wait_in_vain()
    assert len(calls) == 1


def caused(cause: BaseException) -> OperationalError:
    error = OperationalError("not in English")
    error.__cause__ = cause
    return error


def busy(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorname = name
    return error


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (caused(psycopg.errors.SerializationFailure()), True),
        (caused(psycopg.errors.DeadlockDetected()), True),
        (caused(psycopg.errors.LockNotAvailable()), False),
        (caused(psycopg.errors.UniqueViolation()), False),
        (caused(type("OfPsycopg2", (Exception,), {"pgcode": "40001"})()), True),
        (OperationalError(1213, "Deadlock found"), True),
        (OperationalError(1020, "Record has changed since last read"), True),
        (OperationalError(3101, "rolled back during commit"), True),
        (OperationalError(1205, "Lock wait timeout exceeded"), False),
        (OperationalError(1047, "WSREP has not yet prepared node"), False),
        (OperationalError(2006, "Server has gone away"), False),
        (caused(busy("SQLITE_BUSY_SNAPSHOT")), True),
        (caused(busy("SQLITE_BUSY")), False),
        (IntegrityError(1062, "Duplicate entry"), False),
        (DatabaseError(), False),
    ],
    ids=str,
)
def test_which_errors_say_that_a_race_was_lost(error: Exception, is_lost: bool) -> None:
    assert databases.lost_race(error, at_once=False) is is_lost


# Real ones


LEVELS = ["REPEATABLE_READ", "SERIALIZABLE"]


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if connection.vendor != "postgresql":
        pytest.skip("others make a transaction wait instead")
    options = dict(connection.settings_dict["OPTIONS"])
    number = getattr(psycopg.IsolationLevel, request.param)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options | {"isolation_level": number})
    connection.close()
    yield
    connection.close()


@pytest.mark.slow
def test_a_logout_meets_refreshes_at_a_high_level(level: None, user: AbstractUser) -> None:
    connection.ensure_connection()
    answers: list[int] = []
    rounds = 30 if THOROUGH else 10
    for _ in range(rounds):
        login = Login(user)
        access = {"HTTP_AUTHORIZATION": f"Bearer {login.access}"}
        out, *_ = each_at_once(
            [lambda access=access: APIClient().post("/api/logout/", **access)]
            + [lambda login=login: login.refresh()] * 3
        )
        answers.append(out.status_code)
        assert login.refresh().status_code == 401
    assert answers == [204] * rounds


@pytest.mark.slow
def test_logging_out_everywhere_meets_itself_at_a_high_level(
    level: None, user: AbstractUser
) -> None:
    for _ in range(10 if THOROUGH else 4):
        logins = [Login(user) for _ in range(3)]
        out = each_at_once(
            [
                lambda login=login: APIClient().post(
                    "/api/logout/all/", HTTP_AUTHORIZATION=f"Bearer {login.access}"
                )
                for login in logins
            ]
        )
        # Whoever came late finds the token refused.
        assert {one.status_code for one in out} <= {200, 401}
        assert not TokenSession.objects.exists()


def test_admin_actions_try_again(
    client: Client, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    who = someone()
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    assert client.login(username="root", password=PASSWORD)
    told.clear()
    data = {"action": "end_everywhere", "_selected_action": [who.sid], "post": "yes"}
    races = Races()

    def strike(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if "tokens_" in sql and not sql.startswith("SELECT"):
            races.lost += 1
            if races.lost == 2:
                raise lost()
        return execute(sql, *rest)

    with connection.execute_wrapper(strike):
        page = client.post("/admin/tokens/tokensession/", data, follow=True)
    assert [str(one) for one in page.context["messages"]] == ["Ended 2 sessions of 1 user."]
    assert told == ["session_ended"] * 2
    with suppress(TokenSession.DoesNotExist):
        raise AssertionError(TokenSession.objects.get())
