"""Queries that are compiled once: they answer as the ORM does, whatever changes meanwhile."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db import DEFAULT_DB_ALIAS, connection, connections, router
from django.db.models import CharField, QuerySet
from django.db.models.lookups import Exact
from django.db.models.signals import post_init
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import blacklist, databases, users
from tokens.claims import Claims
from tokens.conf import simplejwt
from tokens.databases import compiled as module
from tokens.exceptions import TokenRevoked, UserUnknown
from tokens.jwt import RefreshToken
from tokens.models import TokenSession

from .conftest import Login, alive, bearer, dead

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    """Begin, and end, with nothing compiled on this thread's connection."""
    vars(connections[DEFAULT_DB_ALIAS]).pop(module._KEPT, None)
    yield
    vars(connections[DEFAULT_DB_ALIAS]).pop(module._KEPT, None)


@contextmanager
def compiled() -> Iterator[list[str]]:
    """Record which models' queries are compiled."""
    found: list[str] = []
    init = module.Prepared.__init__

    def record(self: Any, rows: QuerySet[Any], *arguments: Any) -> None:
        found.append(rows.model.__name__)
        init(self, rows, *arguments)

    with patch.object(module.Prepared, "__init__", record):
        yield found


@contextmanager
def made() -> Iterator[list[str]]:
    """Record which instances of models are made."""
    found: list[str] = []

    def record(sender: Any, **kwargs: Any) -> None:
        found.append(sender.__name__)

    post_init.connect(record)
    try:
        yield found
    finally:
        post_init.disconnect(record)


def claims_of(token: Any) -> Claims:
    found: Claims = token.claims
    return found


def test_a_request_and_a_refresh_are_compiled_once(user: AbstractUser) -> None:
    login = Login(user)
    with compiled() as found:
        for _ in range(3):
            assert login.me().status_code == 200
            login.refresh_token = login.refresh().json()["refresh"]
    assert sorted(found) == sorted([type(user).__name__, "TokenSession"])


def test_a_refresh_makes_its_session_and_its_user_and_no_other_instance(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    login = Login(user)
    login.refresh_token = login.refresh().json()["refresh"]
    with made() as found, statements() as asked:
        assert login.refresh().status_code == 200
    assert sorted(found) == sorted([type(user).__name__, "TokenSession"])
    assert len(asked) == 2


def test_a_request_makes_its_user_and_no_other_instance(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    login = Login(user)
    assert login.me().status_code == 200
    with made() as found, statements() as asked:
        assert login.me().status_code == 200
    assert found == [type(user).__name__]
    assert len(asked) == 1


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_user_is_what_the_orm_would_read(
    use_tz: bool, user: AbstractUser, settings: Any
) -> None:
    claims = claims_of(RefreshToken.for_user(user).access_token)
    blacklist.user_of(claims)
    settings.USE_TZ = use_tz
    found, expected = blacklist.user_of(claims), get_user_model()._default_manager.get()
    fields = [field.attname for field in expected._meta.concrete_fields]
    assert {name: vars(found)[name] for name in fields} == {
        name: vars(expected)[name] for name in fields
    }
    assert not found.get_deferred_fields()
    assert (found._state.db, found._state.adding) == ("default", False)


def test_the_session_comes_with_its_user_and_without_another_statement(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    from tokens import sessions

    claims = claims_of(RefreshToken.for_user(user))
    sessions.find(claims)
    with statements() as asked:
        found = sessions.find(claims)
        assert found.user == user
    assert len(asked) == 1
    assert found.user._state.db == "default"
    expected = TokenSession.objects.get()
    for field in TokenSession._meta.concrete_fields:
        assert getattr(found, field.attname) == getattr(expected, field.attname)


def test_what_is_compiled_holds_for_other_users_and_says_no(make_user: Any) -> None:
    first, second = make_user("first"), make_user("second")
    logins = [Login(first), Login(second)]
    assert all(map(alive, logins))
    one, two = (claims_of(RefreshToken.for_user(user).access_token) for user in (first, second))
    assert [blacklist.user_of(one), blacklist.user_of(two)] == [first, second]
    blacklist.revoke_token(one)
    with pytest.raises(TokenRevoked):
        blacklist.user_of(one)
    assert blacklist.user_of(two) == second
    get_user_model()._default_manager.filter(pk=second.pk).delete()
    with pytest.raises((UserUnknown, TokenRevoked)):
        blacklist.user_of(two)


def test_a_manager_that_hides_users_from_one_moment_on_hides_them(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, manager = Login(user), get_user_model()._default_manager
    assert login.me().status_code == 200
    login.refresh_token = login.refresh().json()["refresh"]
    # Not setattr, which would leave an attribute of the instance behind.
    nobody: Any = QuerySet(get_user_model()).none()
    monkeypatch.setitem(vars(manager), "get_queryset", lambda: nobody)
    assert dead(login)


def test_a_manager_of_the_projects_own_is_asked_each_time(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: Any = get_user_model()._default_manager
    asked = []

    class OfTenant(type(plain)):  # type: ignore[misc]
        def get_queryset(self) -> Any:
            asked.append(self)
            return super().get_queryset()

    manager = OfTenant()
    manager.model, manager.name = get_user_model(), plain.name
    login = Login(user)
    assert alive(login)
    monkeypatch.setattr(get_user_model()._meta, "default_manager", manager)
    for number in (1, 2):
        assert login.me().status_code == 200
        assert len(asked) >= number


def test_a_queryset_of_the_projects_own_is_not_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Any = get_user_model()._default_manager

    class Own(QuerySet[Any]):
        pass

    assert databases.is_plain(plain)
    assert not databases.is_plain(plain.__class__.from_queryset(Own)())
    named = plain.db_manager("default")
    assert not databases.is_plain(named)
    with monkeypatch.context() as patched:
        patched.setitem(vars(plain), "all", lambda: named.all())
        assert not databases.is_plain(plain)
    assert databases.is_plain(plain)


def test_another_field_that_names_users_counts_at_once(user: AbstractUser, settings: Any) -> None:
    def named_by(field: str) -> Claims:
        settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"USER_ID_FIELD": field}
        token = PlainRefreshToken()
        token[simplejwt.USER_ID_CLAIM] = str(getattr(user, field))
        return Claims.of(token.access_token)

    for field in (user._meta.pk.attname, "username", user._meta.pk.attname, "username"):
        assert blacklist.user_of(named_by(field)) == user


def test_a_name_that_passed_to_somebody_else_names_nobody_with_the_old_session(
    make_user: Any, settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"USER_ID_FIELD": "username"}
    first, other = make_user("first"), make_user("other")
    rows = get_user_model()._default_manager

    def token_of(user: Any) -> Claims:
        token = PlainRefreshToken()
        token[simplejwt.USER_ID_CLAIM] = user.username
        sid = TokenSession.objects.get(user=user).sid
        token["sid"] = str(sid)
        return Claims.of(token.access_token)

    for user in (first, other):
        TokenSession.objects.filter(user=user).delete()
        Login(user)
    claims = token_of(first)
    for _ in range(2):
        assert blacklist.user_of(claims) == first
    rows.filter(pk=first.pk).update(username="left")
    rows.filter(pk=other.pk).update(username="first")
    with pytest.raises(UserUnknown):
        blacklist.user_of(claims)


def test_a_field_that_compares_in_its_own_way_is_left_to_the_orm() -> None:
    class Own(Exact):  # type: ignore[type-arg]
        pass

    class Folding(CharField):  # type: ignore[type-arg]
        pass

    Folding.register_lookup(Own)
    folding = Folding()
    folding.set_attributes_from_name("name")
    assert not databases.compares_plainly(folding)
    name = CharField()
    name.set_attributes_from_name("name")
    assert databases.compares_plainly(name)
    assert not databases.compares_plainly(TokenSession._meta.get_field("user"))


def test_a_query_whose_values_the_orm_changes_is_not_kept(user: AbstractUser) -> None:
    model, field = get_user_model(), get_user_model()._meta.get_field("username")
    rows = model._default_manager.filter(username__startswith="a")
    with compiled() as found:
        for _ in range(2):
            run = databases.prepared("odd", lambda: rows, [(field, "a")], using="default")
            assert run is None
    assert found == [model.__name__]


def test_each_connection_has_its_own(user: AbstractUser) -> None:
    claims = claims_of(RefreshToken.for_user(user).access_token)
    blacklist.user_of(claims)
    found: list[Any] = []

    def ask() -> None:
        try:
            with compiled() as here:
                found.extend([blacklist.user_of(claims), blacklist.user_of(claims), here])
        finally:
            connections.close_all()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [user, user, [type(user).__name__]]
    copied = connection.copy()
    assert module._KEPT not in vars(copied)


def test_threads_that_ask_at_once_get_their_own_answers(make_user: Any) -> None:
    people = [make_user(f"user{number}") for number in range(4)]
    claims = [claims_of(RefreshToken.for_user(user).access_token) for user in people]
    wrong: list[Any] = []

    def ask(number: int) -> None:
        try:
            for _ in range(25):
                if (found := blacklist.user_of(claims[number])) != people[number]:
                    wrong.append(found)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_users_of_another_database_are_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    assert users.are_joined(blacklist.database())
    monkeypatch.setattr(router, "db_for_write", lambda model, **hints: "elsewhere")
    assert users.are_joined("elsewhere")
    assert not users.are_joined(DEFAULT_DB_ALIAS)


def test_a_token_in_the_header_and_the_text_of_a_refresh_meet_the_same_rule(
    user: AbstractUser,
) -> None:
    login = Login(user)
    assert alive(login)
    get_user_model()._default_manager.filter(pk=user.pk).update(is_active=False)
    answer = login.api.get("/api/me/", **bearer(login.access))
    assert (answer.status_code, login.refresh().status_code) == (401, 401)
