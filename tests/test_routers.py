"""Routers that read from a replica: nothing that decides about a token does, nor does the admin."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.checks import run_checks
from django.db import connection, transaction
from django.test import RequestFactory
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import blacklist, databases, sessions, snapshot, users
from tokens.admin import search
from tokens.checks import clusters
from tokens.databases.either import MariaDBOrMySQL
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import BlacklistEntry, CleanupRun, TokenSession
from tokens.sessions import login

from .conftest import PASSWORD

pytestmark = pytest.mark.django_db


class FromReplica:
    """Read from a database that does not exist, so that whoever reads there fails."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True


class OnlyUsers(FromReplica):
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica" if model is get_user_model() else "default"


@pytest.fixture
def replica(settings: Any, user: AbstractUser) -> None:
    settings.DATABASE_ROUTERS = [FromReplica()]


def bearer(token: object) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


DOORS: dict[str, Callable[[Any, RefreshToken], tuple[int, int]]] = {
    "request": lambda api, token: (200, api.get("/api/me/", **bearer(token.access_token))),
    "refresh": lambda api, token: (
        200,
        api.post("/api/token/refresh/", {"refresh": str(token)}),
    ),
    "verify": lambda api, token: (200, api.post("/api/token/verify/", {"token": str(token)})),
    "logout": lambda api, token: (204, api.post("/api/logout/", {"refresh": str(token)})),
    "logout/all": lambda api, token: (
        200,
        api.post("/api/logout/all/", **bearer(token.access_token)),
    ),
    "sessions": lambda api, token: (200, api.get("/api/sessions/", **bearer(token.access_token))),
    "delete": lambda api, token: (
        204,
        api.delete(f"/api/sessions/{token['sid']}/", **bearer(token.access_token)),
    ),
    "adoption": lambda api, token: (
        200,
        api.post("/api/token/refresh/", {"refresh": token.plain}),
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_endpoint_reads_a_replica(door: str, replica: None, user: AbstractUser) -> None:
    token: Any = RefreshToken.for_user(user)
    token.plain = str(PlainRefreshToken.for_user(user))
    expected, answer = DOORS[door](APIClient(), token)
    assert answer.status_code == expected


def test_the_user_and_the_blacklist_are_asked_in_one_statement(
    replica: None, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    access = RefreshToken.for_user(user).access_token
    with statements() as ran:
        assert APIClient().get("/api/me/", **bearer(access)).status_code == 200
    assert len(ran) == 1


def test_a_token_made_without_for_user_gets_its_session(replica: None, user: AbstractUser) -> None:
    token = RefreshToken()
    token["user_id"] = str(user.pk)
    assert token.outstand() is not None


def test_a_group_is_read_where_users_are_written(replica: None, user: AbstractUser) -> None:
    RefreshToken.for_user(user)
    found = get_user_model().objects.filter(username="ada")
    assert found.db == "replica"
    for people in (found, found[:1], found.union(found)):
        assert sessions.end_for(people).users == 1
    assert not TokenSession.objects.using("default").exists()


def test_the_admin_reads_what_its_actions_write(replica: None, user: AbstractUser) -> None:
    request: Any = RequestFactory().get("/")
    for model in (BlacklistEntry, TokenSession, CleanupRun):
        rows = site._registry[model].get_queryset(request)
        assert rows.db == "default"
        assert list(rows) == []
    RefreshToken.for_user(user)
    (session,) = site._registry[TokenSession].get_queryset(request)
    assert session.user == user
    assert search.users_named("ad") == ([user.pk], True)
    about = site._registry[BlacklistEntry].about(str(session.sid))  # type: ignore[attr-defined]
    assert about


def test_a_manager_that_names_a_database_keeps_it(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = get_user_model()._default_manager
    named = manager.using("elsewhere")
    monkeypatch.setitem(vars(manager), "all", lambda: named)
    assert users.shown("default").db == "elsewhere"


class Unaware:
    """The rows of a replica that knows nobody yet."""

    db = "replica"

    def get(self, **lookups: Any) -> Any:
        raise get_user_model().DoesNotExist


def test_a_user_whom_the_replica_does_not_know_yet_is_asked_for_where_it_was_written(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, statements: Callable[[], Any]
) -> None:
    access = RefreshToken.for_user(user).access_token
    shown: Any = users.shown
    monkeypatch.setattr(
        users, "shown", lambda using=None: shown(using) if using == "default" else Unaware()
    )
    monkeypatch.setattr(snapshot, "refuses", lambda _claims, *, using: False)  # it can tell
    monkeypatch.setattr(users, "are_plain", bool)
    with statements() as ran:
        assert APIClient().get("/api/me/", **bearer(access)).status_code == 200
    assert len(ran) == 1


# System checks


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("router", "found"),
    [(FromReplica, ["tokens.W044", "tokens.W045"]), (OnlyUsers, ["tokens.W044"]), (None, [])],
)
def test_W044_W045_a_router_that_reads_elsewhere(
    router: Any, found: list[str], settings: Any
) -> None:
    settings.DATABASE_ROUTERS = [router()] if router else []
    assert [message.id for message in clusters.check_routers()] == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("is_standby", "tokens.W046"),
        ("answers_late", "tokens.W047"),
        ("has_unordered_writers", "tokens.W048"),
    ],
)
def test_W046_W047_W048_what_the_server_says(
    answer: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids() -> list[str | None]:
        messages = run_checks(tags=["database"], databases=["default"])
        return [message.id for message in messages if "tokens.W04" in (message.id or "")]

    assert ids() == []
    monkeypatch.setattr(type(databases.of(connection)), answer, lambda _self: True)
    assert ids() == [found]
    assert clusters.check_servers(databases=None) == []


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("variables", "answers"),
    [
        ({}, (False, False, False)),
        ({"wsrep_on": "OFF", "wsrep_sync_wait": "0"}, (False, False, False)),
        ({"wsrep_on": "ON", "wsrep_sync_wait": "0"}, (True, True, False)),
        ({"wsrep_on": "ON", "wsrep_sync_wait": "6"}, (True, True, False)),
        ({"wsrep_on": "ON", "wsrep_sync_wait": "7"}, (True, False, False)),
        ({"group_replication_single_primary_mode": "ON"}, (False, False, False)),
        ({"group_replication_single_primary_mode": "OFF"}, (False, False, True)),
    ],
)
def test_what_a_server_of_mysqls_kind_says_of_its_cluster(
    variables: dict[str, str], answers: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_self: Any, question: str) -> str:
        return variables.get(question.split("'")[1], "")

    monkeypatch.setattr("tokens.databases.innodb._are_nodes", {})
    monkeypatch.setattr(MariaDBOrMySQL, "_asked", asked)
    server = MariaDBOrMySQL(connection)
    assert (
        server.has_other_writers(),
        server.answers_late(),
        server.has_unordered_writers(),
    ) == answers


# What happens on a node of Galera, on any database


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(databases.of(connection)), "has_other_writers", lambda _self: True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("node")
def test_a_session_that_starts_after_the_end_in_one_transaction_stays(user: AbstractUser) -> None:
    old = RefreshToken.for_user(user)
    with transaction.atomic():
        user.set_password("another password of theirs")
        user.save()
        new = RefreshToken.for_user(user)
    assert list(TokenSession.objects.values_list("sid", flat=True)) == [
        TokenSession.objects.named(new["sid"]).get().sid
    ]
    assert not TokenSession.objects.named(old["sid"]).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("node")
def test_what_is_kept_stays_when_all_is_done_again(user: AbstractUser) -> None:
    kept, other = RefreshToken.for_user(user), RefreshToken.for_user(user)
    with sessions.keeping(kept):
        user.set_password("another password of theirs")
        user.save()
    assert TokenSession.objects.named(kept["sid"]).exists()
    assert not TokenSession.objects.named(other["sid"]).exists()
    assert sessions.end_all(user, but=kept["sid"]) == 0
    assert TokenSession.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("node")
def test_a_login_after_the_end_of_a_group_in_its_transaction_stays(user: AbstractUser) -> None:
    before = RefreshToken.for_user(user)
    with transaction.atomic():
        assert sessions.end_for([user]) == sessions.Ended(1, 1)
        after = RefreshToken.for_user(user)
    assert not TokenSession.objects.named(before["sid"]).exists()
    assert TokenSession.objects.named(after["sid"]).exists()
    assert sessions.end_for([user]) == sessions.Ended(1, 1)  # each counts once
    assert not TokenSession.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("node")
def test_an_access_token_is_made_on_a_node(user: AbstractUser) -> None:
    access = AccessToken.for_user(user)
    assert APIClient().get("/api/me/", **bearer(access)).status_code == 200


@pytest.fixture
def another_node(node: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let another node commit something just after a login was written here."""
    insert = login.insert

    def commits(work: Callable[[], object]) -> None:
        def insert_then(*arguments: Any, **options: Any) -> None:
            insert(*arguments, **options)
            monkeypatch.setattr(login, "insert", insert)
            work()

        monkeypatch.setattr(login, "insert", insert_then)

    return commits


@pytest.mark.django_db(transaction=True)
def test_a_login_sees_after_its_commit_what_another_node_changed(
    another_node: Callable[..., None], user: AbstractUser, api: APIClient
) -> None:
    changed = type(user)(password=user.password)
    changed.set_password("another password of theirs")
    rows = get_user_model().objects.filter(pk=user.pk)
    another_node(lambda: rows.update(password=changed.password))
    answer = api.post("/api/token/", {"username": user.username, "password": PASSWORD})
    assert answer.status_code == 401
    assert not TokenSession.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["deactivation", "deletion", "everywhere"])
def test_an_adoption_sees_after_its_commit_what_another_node_changed(
    change: str, another_node: Callable[..., None], user: AbstractUser, api: APIClient
) -> None:
    token = str(PlainRefreshToken.for_user(user))
    rows = get_user_model().objects.filter(pk=user.pk)
    another_node(
        {
            "deactivation": lambda: rows.update(is_active=False),
            "deletion": lambda: rows._raw_delete(using="default"),
            "everywhere": lambda: blacklist.revoke_user(user.pk, str(user.pk)),
        }[change]
    )
    assert api.post("/api/token/refresh/", {"refresh": token}).status_code == 401
    assert not TokenSession.objects.exists()
    assert api.post("/api/token/refresh/", {"refresh": token}).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_a_login_ends_when_it_commits(
    another_node: Callable[..., None], user: AbstractUser
) -> None:
    rows = get_user_model().objects.filter(pk=user.pk)
    another_node(lambda: rows.update(is_active=False))
    with transaction.atomic():
        RefreshToken.for_user(user)
        assert TokenSession.objects.exists()
    assert not TokenSession.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("node")
def test_what_ends_all_reaches_logins_that_were_committed_meanwhile(user: AbstractUser) -> None:
    with transaction.atomic():
        assert sessions.end_all(user) == 0
        # Such a row is not seen by the transaction if it comes from another node.
        late = RefreshToken.for_user(user)
        for _, callback, *_ in connection.run_on_commit:
            getattr(callback, "kept", set()).clear()
    assert not TokenSession.objects.named(late["sid"]).exists()
    with transaction.atomic():
        assert sessions.end_for([user]) == sessions.Ended(0, 1)
        late = RefreshToken.for_user(user)
        for _, callback, *_ in connection.run_on_commit:
            getattr(callback, "kept", set()).clear()
    assert not TokenSession.objects.named(late["sid"]).exists()
    RefreshToken.for_user(user)
    late_row = TokenSession.objects.get()
    with transaction.atomic():
        user.delete()
        late_row.save(force_insert=True)
    assert not TokenSession.objects.exists()


@pytest.mark.parametrize("lacks", ["its newest token", "the session"])
def test_a_node_that_lags_is_asked_again_before_it_refuses(
    lacks: str,
    node: None,
    user: AbstractUser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = RefreshToken.for_user(user)
    session = TokenSession.objects.get()
    rows = TokenSession.objects.filter(pk=session.pk)
    caught_up = []

    def catch_up(_self: object) -> bool:
        caught_up.append(1)
        if lacks == "the session":
            session.save(force_insert=True)
        else:
            rows.update(refresh_jti=session.refresh_jti)
        return True

    if lacks == "the session":
        rows.delete()
    else:
        rows.update(refresh_jti="the one before")
    monkeypatch.setattr(type(databases.of(connection)), "catch_up", catch_up)
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(token)})
    assert answer.status_code == 200
    assert caught_up == [1]
    assert caplog.messages == []


def test_waiting_leaves_the_connection_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    if not getattr(connection, "mysql_is_mariadb", False):
        pytest.skip("only MariaDB has the variable")
    server = databases.of(connection)
    monkeypatch.setattr(type(server), "has_other_writers", lambda _self: True)
    assert server.catch_up()
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@wsrep_sync_wait")
        assert cursor.fetchone() == (0,)
        cursor.execute("SET SESSION wsrep_sync_wait = 1")
    try:
        assert not server.catch_up()
    finally:
        connection.close()
