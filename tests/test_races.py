"""Many clients at once. Two rounds by default; RACE_ROUNDS=1000 for the full treatment."""

import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import connections
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import signals
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import Login
from .forge import JTI
from .processes import PATIENCE
from .threads import at_once, each_at_once

# One after the other: a database server lets no more than a hundred in.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("many at once"),
    pytest.mark.slow,
    pytest.mark.usefixtures("atomic_requests"),
]

User: Any = get_user_model()

ROUNDS = int(os.environ.get("RACE_ROUNDS", "2"))
MANY = [20, 100] if ROUNDS >= 100 else [20]
THREADS = [8, *(pytest.param(many, marks=pytest.mark.thorough) for many in MANY)]
GRACE = (
    300  # seconds; a busy machine may not get through with all clients within those of a project
)

# A database server lets so many in; the other threads wait at the door.
DOOR = threading.BoundedSemaphore(60)


@pytest.fixture
def long_grace(settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(seconds=GRACE)


@pytest.fixture
def no_grace(settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)


def through_the_door(function: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with DOOR:
            try:
                return function()
            finally:
                connections.close_all()

    return call


@contextmanager
def rotations() -> Iterator[list[str]]:
    told: list[str] = []

    def receive(sid: str, **_: Any) -> None:
        told.append(sid)

    signals.session_refreshed.connect(receive)
    try:
        yield told
    finally:
        signals.session_refreshed.disconnect(receive)


def start(user: AbstractUser) -> str:
    """Return the refresh token of a new login, without the cost of a password."""
    return str(RefreshToken.for_user(user))


def refresher(login: Login, raw: str) -> Callable[[], Any]:
    return through_the_door(lambda: login.refresh(raw))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.usefixtures("long_grace")
def test_one_client_rotates_and_all_get_the_same_successor(
    threads: int, user: AbstractUser
) -> None:
    login = Login(user)
    for _ in range(ROUNDS):
        TokenSession.objects.all().delete()
        raw = start(user)
        with rotations() as told:
            answers = at_once(threads, refresher(login, raw))
        assert Counter(answer.status_code for answer in answers) == {200: threads}
        successors = {str(RefreshToken(answer.json()["refresh"]).payload) for answer in answers}
        assert len(successors) == 1
        assert len(told) == 1
        session = TokenSession.objects.get()
        assert session.previous_jti == RefreshToken(raw, verify=False).claims.jti
    assert not BlacklistEntry.objects.exists()


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.usefixtures("no_grace")
def test_without_grace_exactly_one_client_gets_a_successor(
    threads: int, user: AbstractUser
) -> None:
    login = Login(user)
    for _ in range(ROUNDS):
        answers = at_once(threads, refresher(login, start(user)))
        assert Counter(answer.status_code for answer in answers) == {200: 1, 401: threads - 1}


@pytest.mark.parametrize("grace", [GRACE, 0])
def test_a_token_of_plain_simplejwt_is_adopted_once(
    grace: int, user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(seconds=grace)
    login = Login(user)
    for _ in range(ROUNDS):
        TokenSession.objects.all().delete()
        raw = str(PlainRefreshToken.for_user(user))
        answers = at_once(8, refresher(login, raw))
        successors = [
            str(RefreshToken(answer.json()["refresh"], verify=False).payload)
            for answer in answers
            if answer.status_code == 200
        ]
        assert {answer.status_code for answer in answers} <= {200, 401}
        assert len(successors) == (8 if grace else 1)
        assert len(set(successors)) == 1
        assert TokenSession.objects.count() == (1 if grace else 0)


def _refresh_in_a_process(login: Login, raw: str, barrier: Any, results: Any) -> None:
    barrier.wait(PATIENCE)
    answer = login.refresh(raw)
    body = answer.json()
    payload = RefreshToken(body["refresh"], verify=False).payload if "refresh" in body else {}
    results.put((answer.status_code, payload.get(JTI)))
    connections.close_all()


@pytest.mark.parametrize("grace", [GRACE, pytest.param(0, marks=pytest.mark.thorough)])
def test_processes_race_as_threads_do(grace: int, user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(seconds=grace)
    login = Login(user)
    context = multiprocessing.get_context("fork")
    for _ in range(max(1, ROUNDS // 10)):
        raw = start(user)
        connections.close_all()
        barrier, results = context.Barrier(8), context.Queue()
        workers = [
            context.Process(target=_refresh_in_a_process, args=(login, raw, barrier, results))
            for _ in range(8)
        ]
        for worker in workers:
            worker.start()
        answers = [results.get(timeout=PATIENCE) for _ in workers]
        for worker in workers:
            worker.join(PATIENCE)
        successes = [jti for status, jti in answers if status == 200]
        assert {status for status, _ in answers} <= {200, 401}
        assert len(successes) == (8 if grace else 1)
        assert len(set(successes)) == 1


def log_out(login: Login, raw: str, user: AbstractUser) -> None:
    assert login.api.post("/api/logout/", {"refresh": raw}).status_code == 204


def log_out_everywhere(login: Login, raw: str, user: AbstractUser) -> None:
    access = str(AccessToken.for_user(user))
    answer = login.api.post("/api/logout/all/", HTTP_AUTHORIZATION=f"Bearer {access}")
    assert answer.status_code == 200


def change_password(login: Login, raw: str, user: AbstractUser) -> None:
    user = User.objects.get(pk=user.pk)
    user.set_password("another")
    user.save()


def deactivate(login: Login, raw: str, user: AbstractUser) -> None:
    user = User.objects.get(pk=user.pk)
    user.is_active = False
    user.save()


ENDS = [log_out, log_out_everywhere, change_password, deactivate]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", [RefreshToken, PlainRefreshToken], ids=["session", "plain"])
def test_a_refresh_that_races_with_the_end_leaves_no_survivor(
    end: Callable[..., None], kind: Any, make_user: Any
) -> None:
    login = Login(make_user("somebody-else"))
    for number in range(min(ROUNDS, 300)):
        user = make_user(f"user {number}")
        raw = str(kind.for_user(user))

        def finish(raw: str = raw, user: AbstractUser = user) -> None:
            end(login, raw, user)

        answers = each_at_once([refresher(login, raw), finish, refresher(login, raw)])
        for answer in (answers[0], answers[2]):
            assert answer.status_code in (200, 401), answer.content
            if answer.status_code == 200:
                assert login.me(answer.json()["access"]).status_code == 401
                assert login.refresh(answer.json()["refresh"]).status_code == 401
        assert not TokenSession.objects.filter(user=user).exists()
