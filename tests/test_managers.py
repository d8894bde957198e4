"""Users behind managers that annotate, join, hide or slice: whatever they do, logins end."""

import threading
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import blacklist, mass_logout, sessions, users
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import Login
from .processes import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

User: Any = get_user_model()

Shape = Callable[[Any], Any]

# What a manager may do to its rows. Most of it breaks SELECT ... FOR UPDATE somewhere.
SHAPES: dict[str, Shape] = {
    "count": lambda rows: rows.annotate(number=Count("groups")),
    "distinct": lambda rows: rows.distinct(),
    "join": lambda rows: rows.filter(groups__isnull=True),
    "order": lambda rows: rows.order_by("groups__name"),
    "window": lambda rows: rows.annotate(n=Window(RowNumber(), order_by=F("pk").asc())),
    "slice": lambda rows: rows[:1_000],
    "hidden": lambda rows: rows.none(),
}


@pytest.fixture(params=["ordering", *product(["default", "base"], SHAPES)], ids=str)
def shaped(
    request: pytest.FixtureRequest, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> AbstractUser:
    """A user whose model's default manager, or base manager too, or ordering is odd."""
    if request.param == "ordering":
        # Django orders by it in each query that does not say otherwise.
        monkeypatch.setattr(User._meta, "ordering", ["groups__name"])
        return user
    kind, name = request.param
    plain = User._default_manager

    class Shaping(type(plain)):  # type: ignore[misc]
        def get_queryset(self) -> Any:
            return SHAPES[name](super().get_queryset())

    manager = Shaping()
    manager.model, manager.name = User, plain.name
    monkeypatch.setattr(User._meta, "default_manager", manager)
    if kind == "base":
        monkeypatch.setattr(User._meta, "base_manager", manager)
    return user


def refused(*tokens: Any) -> bool:
    return not TokenSession.objects.exists() and all(map(blacklist.is_revoked, tokens))


def test_logins_end_and_are_counted(shaped: AbstractUser, capsys: Any) -> None:
    for end in (
        lambda: sessions.end_all(shaped),
        lambda: sessions.end_for([shaped.pk]),
        lambda: mass_logout.end_everybody(reason="command"),
        lambda: call_command("revoke_tokens", user=f"id:{shaped.pk}", interactive=False),
    ):
        tokens = RefreshToken.for_user(shaped).claims, AccessToken.for_user(shaped).claims
        assert mass_logout.count("default", seconds=60) == mass_logout.Ended(sessions=1, users=1)
        end()
        assert refused(*tokens)


def the_users_own(user: AbstractUser, shape: str, monkeypatch: Any) -> None:
    plain = type(User._default_manager).get_queryset
    monkeypatch.setattr(
        type(User._default_manager), "get_queryset", lambda self: SHAPES[shape](plain(self))
    )


def change_password(user: AbstractUser) -> None:
    user.set_password("a new one")
    user.save()


def deactivate(user: AbstractUser) -> None:
    user.is_active = False
    user.save()


def delete(user: AbstractUser) -> None:
    user.delete()


@pytest.mark.parametrize("change", [change_password, deactivate, delete])
@pytest.mark.parametrize("name", SHAPES)
def test_what_happens_to_a_user_is_seen(
    change: Callable[[AbstractUser], None], name: str, user: AbstractUser, monkeypatch: Any
) -> None:
    claims = RefreshToken.for_user(user).claims
    user = User._base_manager.get(pk=user.pk)
    the_users_own(user, name, monkeypatch)
    change(user)
    assert refused(claims)


@pytest.mark.parametrize("name", ["count", "distinct", "join", "order", "window"])
def test_a_token_of_plain_simplejwt_refreshes_and_logs_out_everywhere(
    name: str, user: AbstractUser, monkeypatch: Any
) -> None:
    plain, login = str(PlainRefreshToken.for_user(user)), Login(user)
    the_users_own(user, name, monkeypatch)
    assert login.refresh(plain).status_code == 200
    answer = login.api.post("/api/logout/all/", HTTP_AUTHORIZATION=f"Bearer {login.access}")
    assert (answer.status_code, answer.json()) == (200, {"sessions_ended": 2})
    assert BlacklistEntry.objects.filter(scope="session").count() == 2


LOCKS: dict[str, Callable[[AbstractUser], object]] = {
    "lock": lambda user: users.lock(pk=user.pk, using="default"),
    "lock_named": lambda user: users.lock_named(AccessToken.for_user(user).claims, using="default"),
    "read_locked": lambda user: users.read_locked(
        users.everyone("default").filter(pk=user.pk), "pk"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("hold", LOCKS.values(), ids=LOCKS)
def test_whoever_locks_a_user_waits_for_those_who_did(
    hold: Callable[[AbstractUser], object], user: AbstractUser, monkeypatch: Any
) -> None:
    # SQLite's default: a transaction takes no lock by itself when it begins.
    monkeypatch.setattr(connection, "transaction_mode", "DEFERRED", raising=False)
    asked, done = threading.Event(), threading.Event()

    def wait_for_it() -> None:
        try:
            asked.set()
            with transaction.atomic():
                users.lock(pk=user.pk, using="default")
                done.set()
        finally:
            connections.close_all()

    other = threading.Thread(target=wait_for_it)
    with transaction.atomic():
        hold(user)
        other.start()
        assert asked.wait(PATIENCE)
        assert not done.wait(0.3)
    other.join(PATIENCE)
    assert done.is_set()


def test_a_lock_is_one_statement_and_changes_nothing(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    RefreshToken.for_user(user)
    with transaction.atomic(), statements() as ran:
        users.lock(pk=user.pk, using="default")
    assert len(ran) == 1, ran
    assert TokenSession.objects.count() == User.objects.count() == 1


def test_locked_rows_are_read_in_the_order_of_their_keys(make_user: Any) -> None:
    made = [make_user(name) for name in ("ada", "grace", "linus")]
    with transaction.atomic():
        everyone = users.everyone(connection.alias).filter(pk__in=[one.pk for one in made])
        found = users.read_locked(everyone, "pk", User.USERNAME_FIELD)
    assert found == sorted((one.pk, one.get_username()) for one in made)
