"""Ending everybody's sessions in bounded batches, while the others log in."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import clock, mass_logout, retry, sessions
from tokens.jwt import RefreshToken
from tokens.mass_logout import Ended, end_everybody
from tokens.models import BlacklistEntry, TokenSession

from .conftest import Login
from .threads import each_at_once

User: Any = get_user_model()

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mass_logout, "SESSIONS_IN_BATCH", 3)
    monkeypatch.setattr(mass_logout, "USERS_IN_BATCH", 2)


@pytest.fixture
def people(make_user: Callable[..., User]) -> list[User]:
    return [make_user(name) for name in ("ada", "grace", "linus", "margaret", "dennis")]


def end() -> Ended:
    return end_everybody(reason="command")


def test_there_may_be_nobody() -> None:
    assert end() == Ended(0, 0)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 7])
def test_every_session_ends_whatever_the_number_of_batches(user: User, number: int) -> None:
    claims = [RefreshToken.for_user(user).claims for _ in range(number)]
    batches: list[Ended] = []
    done = end_everybody(reason="command", progress=batches.append)
    assert done == Ended(number, 1)
    assert sum(batch.sessions for batch in batches) == number
    assert max(batch.sessions for batch in batches) <= 3
    assert not TokenSession.objects.exists()
    entries = BlacklistEntry.objects.filter(scope="session")
    assert {entry.subject for entry in entries} == {one.sid for one in claims}
    assert {entry.reason for entry in entries} == {"command"}


def test_all_tokens_of_all_users_are_refused(people: list[User]) -> None:
    logins = [Login(user) for user in people]
    plain = [str(PlainAccessToken.for_user(user)) for user in people]
    refresh = [str(PlainRefreshToken.for_user(user)) for user in people]
    User.objects.filter(pk=people[0].pk).update(is_active=False)
    assert end() == Ended(5, 5)
    User.objects.update(is_active=True)
    for login, access, token in zip(logins, plain, refresh, strict=True):
        assert login.me().status_code == login.refresh().status_code == 401
        assert login.me(access).status_code == login.refresh(token).status_code == 401
    assert Login(people[0]).me().status_code == 200


def test_once_more_refuses_what_was_issued_since_and_writes_no_second_entry(user: User) -> None:
    end()
    first = BlacklistEntry.objects.get()
    assert end() == Ended(0, 1)
    entry = BlacklistEntry.objects.get()
    assert entry.issued_before is not None
    assert first.issued_before is not None
    assert entry.issued_before > first.issued_before
    assert entry.key == first.key
    assert entry.expires_at - first.expires_at == entry.issued_before - first.issued_before


def test_an_entry_of_many_users_reads_like_an_entry_of_one(people: list[User]) -> None:
    sessions.end_all(people[0], reason="command")
    one = BlacklistEntry.objects.values().get()
    BlacklistEntry.objects.all().delete()
    end()
    many = BlacklistEntry.objects.values().get(user=people[0])
    moments = ("issued_before", "created_at", "expires_at")
    assert {name: one[name] for name in one if name not in moments} == {
        name: many[name] for name in many if name not in moments
    }


def test_a_later_moment_is_never_moved_back(user: User) -> None:
    later = clock.now() + timedelta(minutes=2)  # by a host whose clock is ahead
    sessions.end_all(user)
    BlacklistEntry.objects.update(issued_before=later)
    end()
    assert BlacklistEntry.objects.get().issued_before == later


def test_users_that_the_usual_manager_hides_are_not_forgotten(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nobody(type(User.objects)):  # type: ignore[misc]
        def get_queryset(self) -> Any:
            return super().get_queryset().none()

    hiding = Nobody()
    hiding.model = User
    monkeypatch.setattr(User._meta, "default_manager", hiding)
    assert end().users == 1


def test_who_logs_in_meanwhile_stays(user: User) -> None:
    Login(user)
    late: list[Login] = []

    def progress(batch: Ended) -> None:
        if batch.sessions:
            late.append(Login(user))

    assert end_everybody(reason="command", progress=progress) == Ended(1, 1)
    assert late[0].me().status_code == late[0].refresh().status_code == 200


def test_a_token_without_sid_becomes_no_session_that_stays(user: User) -> None:
    old = [str(PlainRefreshToken.for_user(user)) for _ in range(6)]
    login = Login(user)
    answers: list[Any] = []

    def refresh_all() -> None:
        answers.extend(login.refresh(token) for token in old)

    each_at_once([refresh_all, end])
    won = [answer.json()["refresh"] for answer in answers if answer.status_code == 200]
    assert all(login.refresh(token).status_code == 401 for token in [*won, *old])
    assert not TokenSession.objects.exists()


def test_what_is_done_stays_done_and_the_next_time_goes_on(user: User) -> None:
    for _ in range(7):
        Login(user)

    def interrupt(batch: Ended) -> None:
        if batch.sessions:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        end_everybody(reason="command", progress=interrupt)
    assert TokenSession.objects.count() == 4
    assert end() == Ended(4, 1)


def test_a_deadlock_is_tried_again(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    Login(user)
    real, failures = sessions.end_many, [OperationalError("deadlock")]

    def fail_once(*args: Any, **options: Any) -> int:
        if failures:
            raise failures.pop()
        return real(*args, **options)

    monkeypatch.setattr(retry, "WAITS", (0,))
    monkeypatch.setattr(sessions, "end_many", fail_once)
    assert end() == Ended(1, 1)


def test_statements_grow_with_the_batches_only(
    people: list[User], statements: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mass_logout, "SESSIONS_IN_BATCH", 5_000)
    monkeypatch.setattr(mass_logout, "USERS_IN_BATCH", 500)

    def count() -> int:
        with statements() as ran:
            end()
        return len(ran)

    RefreshToken.for_user(people[0])
    end()
    RefreshToken.for_user(people[0])
    few = count()
    for user in people * 10:
        RefreshToken.for_user(user)
    assert count() == few
