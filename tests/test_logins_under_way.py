"""What is made while a user is being changed does not survive the change."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import connection, connections, transaction
from rest_framework.exceptions import APIException
from rest_framework.test import APIClient
from rest_framework_simplejwt import serializers as simplejwts
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import blacklist, clock, sessions
from tokens.api.serializers import TokenRefreshSlidingSerializer
from tokens.jwt import AccessToken, LoginOutdated, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession
from tokens.sessions import login

from .conftest import MINUTE, PASSWORD, SECOND, Login, alive, better_hasher
from .processes import PATIENCE
from .test_every_token import is_refused_without_asking_for_the_user, status
from .threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()

needs_several_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer"
)

KINDS = [AccessToken, SlidingToken, RefreshToken]


def change_password(user: AbstractUser) -> None:
    user.set_password("another long password")
    user.save()


def change_password_in_bulk(user: AbstractUser) -> None:
    user.set_password("another long password")
    User.objects.filter(pk=user.pk).update(password=user.password)


def deactivate(user: AbstractUser) -> None:
    user.is_active = False
    user.save()


def delete(user: AbstractUser) -> None:
    User.objects.filter(pk=user.pk).delete()


CHANGES = [change_password, change_password_in_bulk, deactivate, delete]


@pytest.mark.parametrize("change", CHANGES)
def test_a_login_that_began_before_the_change_fails(
    change: Callable[[AbstractUser], None], user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = simplejwts.authenticate

    def authenticate(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)  # takes a third of a second with a real hasher
        if found is not None:
            change(User.objects.get(pk=user.pk))
        return found

    monkeypatch.setattr(simplejwts, "authenticate", authenticate)
    form = {"username": user.get_username(), "password": PASSWORD}
    answer = APIClient().post("/api/token/", form)
    assert answer.status_code == 401
    assert answer.json()["code"] == "no_active_account"
    assert not TokenSession.objects.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
def test_no_token_is_made_for_what_the_user_was(
    change: Callable[[AbstractUser], None], kind: Any, user: AbstractUser
) -> None:
    before = User.objects.get(pk=user.pk)
    change(user)
    with pytest.raises(LoginOutdated) as refusal:
        kind.for_user(before)
    assert isinstance(refusal.value, APIException)
    assert refusal.value.status_code == 401
    assert not TokenSession.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("kind", KINDS)
def test_other_changes_of_the_user_stop_no_login(kind: Any, user: AbstractUser) -> None:
    before = User.objects.get(pk=user.pk)
    user.last_name = "Lovelace"
    user.last_login = clock.now()
    user.save()
    assert kind.for_user(before)


@pytest.mark.any_database
@pytest.mark.parametrize("kind", KINDS)
def test_a_project_may_let_inactive_users_in(kind: Any, user: AbstractUser) -> None:
    deactivate(user)
    assert kind.for_user(user)


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_that_a_replica_knows_needs_no_relation(kind: Any, user: AbstractUser) -> None:
    """A router without allow_relation lets no row of one database point to one of another."""
    user._state.db = "replica"
    token = kind.for_user(user)
    assert sessions.end_all(user) == (kind is RefreshToken)
    assert blacklist.is_revoked(token.claims)


def test_a_login_at_the_moment_of_a_better_hash_succeeds(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Two first logins after an upgrade of Django: each gives the password a better hash."""
    real, logins = simplejwts.authenticate, []

    def authenticate(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        if not logins:
            logins.append(1)
            again = User.objects.get(pk=user.pk)
            again.set_password(PASSWORD)  # another salt
            User.objects.filter(pk=user.pk).update(password=again.password)
        return found

    monkeypatch.setattr(simplejwts, "authenticate", authenticate)
    with better_hasher(settings):
        assert alive(Login(user))
    assert logins
    assert TokenSession.objects.count() == 1


@contextmanager
def change_under_way(change: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Run ``change`` in a transaction that stays open until the given function is called."""
    changed, commit = threading.Event(), threading.Event()

    def run() -> None:
        try:
            with transaction.atomic():
                change()
                changed.set()
                commit.wait(PATIENCE)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    assert changed.wait(PATIENCE)

    def finish() -> None:
        commit.set()
        thread.join()

    try:
        yield finish
    finally:
        finish()


@needs_several_writers
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param(
            *(kind, change),
            marks=[] if kind is RefreshToken or change is change_password else pytest.mark.thorough,
        )
        for kind, change in product(KINDS, CHANGES)
    ],
)
def test_a_login_waits_for_a_change_under_way_and_fails(
    change: Callable[[AbstractUser], None], kind: Any, user: AbstractUser
) -> None:
    before = User.objects.get(pk=user.pk)
    answers: list[object] = []

    def log_in() -> None:
        try:
            answers.append(kind.for_user(before))
        except LoginOutdated as error:
            answers.append(error)
        finally:
            connections.close_all()

    with change_under_way(lambda: change(user)) as commit:
        thread = threading.Thread(target=log_in)
        thread.start()
        thread.join(0.3)
        assert not answers
        commit()
        thread.join()
    assert [type(one) for one in answers] == [LoginOutdated]
    assert not TokenSession.objects.exists()


def refreshed_sliding_token(user: AbstractUser) -> Callable[[], str]:
    token = SlidingToken.for_user(user)

    def refresh() -> str:
        serializer = TokenRefreshSlidingSerializer(data={"token": str(token)})
        serializer.is_valid(raise_exception=True)
        return str(serializer.validated_data["token"])

    return refresh


def refreshed_plain_token(user: AbstractUser) -> Callable[[], str]:
    token = PlainRefreshToken.for_user(user)

    def refresh() -> str:
        answer = APIClient().post("/api/token/refresh/", {"refresh": str(token)})
        return str(answer.json()["access"])

    return refresh


@needs_several_writers
@pytest.mark.parametrize("make", [refreshed_sliding_token, refreshed_plain_token])
def test_a_token_that_is_refreshed_during_a_revocation_is_refused_after_it(
    make: Callable[[AbstractUser], Callable[[], str]],
    user: AbstractUser,
    settings: Any,
    time_machine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": False}
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (AccessToken, SlidingToken))
    time_machine.move_to(clock.aware(clock.now()), tick=True)
    refresh = make(user)
    with change_under_way(lambda: sessions.end_all(user)) as commit:
        time_machine.shift(3 * SECOND)
        token = refresh()
        assert status(token) == 200
        commit()
    assert status(token) == 401
    assert is_refused_without_asking_for_the_user(token)


def test_an_entry_that_is_committed_late_outlasts_what_was_made_until_then(
    user: AbstractUser, settings: Any, time_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session goes on until the transaction that ends it is committed."""
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {
        "ACCESS_TOKEN_LIFETIME": timedelta(hours=1),
        "REFRESH_TOKEN_LIFETIME": MINUTE,
    }
    time_machine.move_to(clock.aware(clock.now()), tick=True)
    for end in (
        lambda user, _token: sessions.end_all(user),
        lambda _user, token: token.blacklist(),
    ):
        token = RefreshToken.for_user(user)
        with transaction.atomic():
            end(user, token)
            time_machine.shift(10 * MINUTE)
            monkeypatch.setattr(clock, "elapsed", lambda real=clock.elapsed: real() + 600)
            expires = clock.now() + timedelta(hours=1)
        assert BlacklistEntry.objects.get(scope="session").expires_at >= expires - SECOND
        BlacklistEntry.objects.all().delete()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """The moments and the ids of all sessions that start from now on."""
    found: list[tuple[Any, Any]] = []
    insert = login.insert

    def noted(session: TokenSession, *args: Any, **kwargs: Any) -> None:
        insert(session, *args, **kwargs)
        found.append((session.created_at, session.sid))

    monkeypatch.setattr(login, "insert", noted)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 3])
def test_of_many_logins_at_once_exactly_the_newest_live(
    limit: int, user: AbstractUser, settings: Any, made: list[tuple[Any, Any]]
) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = limit
    for _ in range(2):
        at_once(8, lambda: Login(user))
        left = TokenSession.objects.values_list("created_at", "sid")
        assert sorted(left) == sorted(made)[-limit:]


@pytest.mark.parametrize("limit", [1, 2])
def test_the_limit_holds_for_logins_in_request_transactions(
    limit: int, user: AbstractUser, settings: Any, made: list[tuple[Any, Any]]
) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = limit

    def log_in() -> None:
        with transaction.atomic():
            # At REPEATABLE READ this decides what plain reads see.
            found = User.objects.get(pk=user.pk)
            RefreshToken.for_user(found)

    at_once(1 if connection.vendor == "sqlite" else 6, log_in)
    left = TokenSession.objects.values_list("created_at", "sid")
    assert sorted(left) == sorted(sorted(made, reverse=True)[:limit])


def test_a_login_that_others_have_overtaken_makes_room_itself(
    user: AbstractUser, settings: Any, time_machine: Any
) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = 1
    newer = RefreshToken.for_user(user)
    time_machine.move_to(
        clock.aware(clock.now()) - SECOND
    )  # another host's clock, or a slow insert
    slow = RefreshToken.for_user(user)
    assert [str(one.sid) for one in TokenSession.objects.all()] == [newer["sid"]]
    assert blacklist.is_revoked(slow.access_token.claims)


def test_a_session_that_continues_an_old_token_is_the_newest(
    user: AbstractUser, settings: Any, time_machine: Any
) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = 1
    plain = PlainRefreshToken.for_user(user)
    time_machine.move_to(clock.aware(clock.now()) + MINUTE, tick=True)
    phone = Login(user)
    time_machine.shift(MINUTE)
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(plain)}).json()
    assert status(answer["access"]) == 200
    assert status(phone.access) == 401
