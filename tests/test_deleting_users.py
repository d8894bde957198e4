"""Deleting users, one or thousands: all of their logins end, and the others cost nothing."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Group
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, pre_delete
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken

from tokens import blacklist, clock, mass_logout, sessions, signals, snapshot
from tokens.jwt import AccessToken, LoginOutdated, RefreshToken
from tokens.models import BlacklistEntry, TokenSession

pytestmark = pytest.mark.django_db(transaction=True)

User: Any = get_user_model()

Statements = Callable[[], AbstractContextManager[list[str]]]


def make_users(number: int, **fields: Any) -> list[Any]:
    made = [
        User(username=f"user{one}", email=f"user{one}@example.com", **fields)
        for one in range(number)
    ]
    User._base_manager.bulk_create(made)
    return list(User._base_manager.order_by("pk"))


def log_in(users: list[Any]) -> list[Any]:
    return [RefreshToken.for_user(user).claims for user in users]


@contextmanager
def receiving(signal: Any, receive: Callable[..., object], sender: type[Model] = User) -> Any:
    def receiver(**arguments: Any) -> None:
        receive(arguments["instance"])

    signal.connect(receiver, sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender)


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    yield
    list(User._base_manager.all())
    assert connection.execute_wrappers == []
    assert connection.run_on_commit == []


# What it costs


def delete_queryset() -> None:
    User._base_manager.all().delete()


def delete_keys_only() -> None:
    User._base_manager.only("pk").delete()


def delete_in_a_transaction() -> None:
    with transaction.atomic():
        Group.objects.all().delete()
        with transaction.atomic():
            delete_queryset()


def delete_with_receivers() -> None:
    def look_and_write(user: Any) -> None:
        Group.objects.filter(name="none").exists()
        Group.objects.create(name=f"farewell {user.pk}")

    with receiving(pre_delete, look_and_write):
        delete_queryset()


WAYS: dict[str, Callable[[], None]] = {
    "queryset": delete_queryset,
    "keys only": delete_keys_only,
    "in a transaction": delete_in_a_transaction,
    "with receivers": delete_with_receivers,
}


def extra(statements: Statements, settings: Any, delete: Callable[[], None]) -> int:
    """Return how many statements of the deletion are due to us, where all users are deleted.

    The rest is what Django needs, which deletes row by row, or in batches, for our models too.
    """
    with statements() as ours, pytest.raises(ZeroDivisionError), transaction.atomic():
        delete()
        raise ZeroDivisionError
    settings.TOKENS_REVOKE_ON = ()
    with statements() as theirs:
        delete()
    del settings.TOKENS_REVOKE_ON
    return len(ours) - len(theirs)


@pytest.mark.parametrize("delete", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("number", [1, 10, pytest.param(200, marks=pytest.mark.thorough)])
def test_users_who_never_logged_in_cost_the_same_whatever_their_number(
    number: int, delete: Callable[[], None], statements: Statements, settings: Any
) -> None:
    make_users(number)
    # Lock and read them (SQLite: in two statements), ask for their sessions.
    expected = 2 if connection.features.has_select_for_update else 3
    assert extra(statements, settings, delete) == expected
    assert not User._base_manager.exists()


@pytest.mark.parametrize("delete", [delete_queryset, delete_with_receivers])
@pytest.mark.parametrize("number", [1, 10, pytest.param(60, marks=pytest.mark.thorough)])
def test_users_with_sessions_cost_the_same_whatever_their_number(
    number: int, delete: Callable[[], None], statements: Statements, settings: Any
) -> None:
    log_in(make_users(number) * 2)
    # And ask the time, write the entries, delete the sessions, move up, find and write the users'
    # entries.
    expected = 2 if connection.features.has_select_for_update else 3
    assert extra(statements, settings, delete) == expected + 6


def test_two_thousand_at_once_leave_no_row(statements: Statements) -> None:
    make_users(2_000)
    with statements() as ran:
        delete_queryset()
    about_sessions = [sql for sql in ran if sql.startswith("SELECT DISTINCT")]
    assert len(about_sessions) == 1
    assert not BlacklistEntry.objects.exists()


def test_more_than_fit_into_a_statement_take_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mass_logout, "PARAMETERS", 3)
    users = make_users(10)
    claims = log_in(users)
    delete_queryset()
    assert all(map(blacklist.is_revoked, claims))
    assert BlacklistEntry.objects.filter(scope="user").count() == 10


def test_an_event_that_does_not_count_costs_nothing(settings: Any, statements: Statements) -> None:
    settings.TOKENS_REVOKE_ON = ("password_change", "deactivation")
    claims = log_in(make_users(3))
    delete_queryset()
    assert not BlacklistEntry.objects.exists()
    assert not TokenSession.objects.exists()
    assert not any(map(blacklist.is_revoked, claims))


# Who leaves what


def entries_of_users() -> set[str]:
    rows = BlacklistEntry.objects.filter(scope="user")
    return set(rows.values_list("subject", flat=True))


def test_only_users_who_may_have_tokens_leave_an_entry() -> None:
    never, logged_in, by_session = make_users(3)
    User._base_manager.filter(pk=logged_in.pk).update(last_login=clock.now())
    [claims] = log_in([by_session])
    plain = [AccessToken.for_user(user).claims for user in (logged_in, by_session)]
    delete_queryset()
    assert entries_of_users() == {str(logged_in.pk), str(by_session.pk)}
    assert str(never.pk) not in entries_of_users()
    assert blacklist.is_revoked(claims)
    assert all(map(blacklist.is_revoked, plain))
    assert set(BlacklistEntry.objects.values_list("reason", flat=True)) == {"deletion"}
    assert set(BlacklistEntry.objects.values_list("user", flat=True)) == {None}


STATELESS = [
    "rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication",
    "rest_framework_simplejwt.authentication.JWTTokenUserAuthentication",
    "tokens.api.authentication.JWTStatelessUserAuthentication",
]


@pytest.mark.any_database
@pytest.mark.parametrize("door", STATELESS)
def test_where_nobody_reads_the_user_each_of_them_leaves_an_entry(door: str, settings: Any) -> None:
    classes = ["rest_framework.authentication.SessionAuthentication", door]
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_AUTHENTICATION_CLASSES": classes}
    users = make_users(3)
    plain = [AccessToken.for_user(user).claims for user in users]
    delete_queryset()
    assert all(map(blacklist.is_revoked, plain))
    assert len(entries_of_users()) == 3


def test_somebody_who_stays_keeps_everything(user: AbstractUser) -> None:
    [claims] = log_in([user])
    log_in([other for other in make_users(3) if other.pk != user.pk])
    User._base_manager.exclude(pk=user.pk).delete()
    assert not blacklist.is_revoked(claims)
    assert TokenSession.objects.get().user == user
    assert entries_of_users().isdisjoint({str(user.pk)})


@pytest.fixture
def named_by_email(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"USER_ID_FIELD": "email"}
    monkeypatch.setattr(simplejwt.api_settings, "USER_ID_FIELD", "email")


END: dict[str, Callable[[Any], object]] = {
    "delete": lambda user: user.delete(),
    "end_all": sessions.end_all,
    "end_for": lambda user: sessions.end_for([user]),
    "everybody": lambda _user: mass_logout.end_everybody(reason="command"),
    "command": lambda user: call_command(
        "revoke_tokens", user=user.username, interactive=False, verbosity=0
    ),
    "revoke_user": lambda user: blacklist.revoke_user(user.pk, user.email),
    "revoke_users": lambda user: blacklist.revoke_users([(user.pk, user.email)]),
}


@pytest.mark.any_database
@pytest.mark.usefixtures("named_by_email")
@pytest.mark.parametrize("end", END.values(), ids=END)
def test_no_entry_names_an_address(end: Callable[[Any], object], capsys: Any) -> None:
    [user] = make_users(1)
    pk, plain = str(user.pk), AccessToken.for_user(user).claims
    assert plain.user_id == user.email
    log_in([user])
    end(user)
    assert entries_of_users() == {pk}
    assert blacklist.is_revoked(plain)
    for values in BlacklistEntry.objects.values():
        assert "example.com" not in str(values)


@pytest.mark.usefixtures("named_by_email")
def test_the_stored_id_counts_and_not_what_the_instance_says() -> None:
    [user] = make_users(1)
    plain = AccessToken.for_user(user).claims
    log_in([user])
    user.email = "never@example.com"
    user.delete()
    assert blacklist.is_revoked(plain)


# When it happens


def test_sessions_end_before_the_user_is_gone_and_tell_of_it_after_the_commit() -> None:
    heard: list[tuple[Any, str, bool]] = []
    seen: list[bool] = []

    def hear(sid: str, user_id: Any, reason: str, **_: Any) -> None:
        heard.append((sid, reason, connection.in_atomic_block))

    claims = log_in(make_users(3) * 2)
    signals.session_ended.connect(hear)
    try:
        with receiving(post_delete, lambda _user: seen.append(TokenSession.objects.exists())):
            delete_queryset()
    finally:
        signals.session_ended.disconnect(hear)
    assert seen == [False] * 3
    assert sorted(heard) == sorted((one.sid, "deletion", False) for one in claims)


def test_a_cached_check_refuses_at_once(settings: Any) -> None:
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=100)
    snapshot.reset()
    users = make_users(3)
    accesses = [RefreshToken.for_user(user).access_token.claims for user in users]
    assert not any(map(blacklist.is_revoked, accesses))
    with transaction.atomic():
        delete_queryset()
        assert all(map(blacklist.is_revoked, accesses))
    assert all(map(blacklist.is_revoked, accesses))
    snapshot.reset()


def test_a_check_during_the_deletion_refuses_its_users() -> None:
    users = make_users(2)
    claims = log_in(users)
    answers: list[bool] = []
    with receiving(pre_delete, lambda _user: answers.append(blacklist.is_revoked(claims[0]))):
        delete_queryset()
    assert answers[-1]
    assert all(map(blacklist.is_revoked, claims))


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_deletion_that_fails_ends_nothing(position: int, inner: bool) -> None:
    users = make_users(3)
    claims = log_in(users)

    def refuse(user: Any) -> None:
        if user.pk == users[position].pk:
            raise ZeroDivisionError

    def delete() -> None:
        failing = pytest.raises(ZeroDivisionError)
        with failing, receiving(pre_delete, refuse), transaction.atomic():
            delete_queryset()

    if inner:
        with transaction.atomic():
            delete()
            assert User._base_manager.count() == 3
            users[0].delete()
    else:
        delete()
        assert User._base_manager.count() == 3
        User._base_manager.filter(pk=users[0].pk).delete()
    assert [blacklist.is_revoked(one) for one in claims] == [True, False, False]
    assert TokenSession.objects.count() == 2


def test_a_rollback_after_the_deletion_undoes_all_of_it() -> None:
    claims = log_in(make_users(2))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        delete_queryset()
        raise ZeroDivisionError
    assert TokenSession.objects.count() == 2
    assert not any(map(blacklist.is_revoked, claims))


def test_a_savepoint_drops_its_own_users_only() -> None:
    kept, gone = make_users(2)
    claims = log_in([kept, gone])

    def announce(user: Any) -> None:
        pre_delete.send(User, instance=user, using="default", origin=user)

    with transaction.atomic():
        announce(gone)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            announce(kept)
            raise ZeroDivisionError
    assert [blacklist.is_revoked(one) for one in claims] == [False, True]


def test_who_sends_the_signal_without_deleting_ends_sessions_too() -> None:
    first, second = make_users(2)
    claims = log_in([first, second])
    pre_delete.send(User, instance=first, using="default", origin=first)
    assert [blacklist.is_revoked(one) for one in claims] == [True, False]
    with transaction.atomic():
        pre_delete.send(User, instance=second, using="default", origin=second)
    assert all(map(blacklist.is_revoked, claims))
    assert User._base_manager.count() == 2


def test_wrappers_of_others_stay_where_they_are() -> None:
    [user] = make_users(1)
    log_in([user])
    seen: list[str] = []

    def watch(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    def refuse(_user: Any) -> None:
        raise ZeroDivisionError

    refusing = receiving(pre_delete, refuse)
    with connection.execute_wrapper(watch), refusing, pytest.raises(ZeroDivisionError):
        user.delete()
    assert watch not in connection.execute_wrappers
    with connection.execute_wrapper(watch):
        user.delete()
        assert connection.execute_wrappers == [watch]
    assert any("INSERT INTO" in sql for sql in seen)


def test_a_receiver_may_delete_more_users() -> None:
    first, second, third = make_users(3)
    claims = log_in([first, second, third])

    def cascade(user: Any) -> None:
        if user.pk == first.pk:
            User._base_manager.filter(pk__in=[second.pk, third.pk]).delete()

    with receiving(pre_delete, cascade):
        User._base_manager.filter(pk=first.pk).delete()
    assert all(map(blacklist.is_revoked, claims))
    assert not TokenSession.objects.exists()


@pytest.mark.skipif(User._meta.app_label != "auth", reason="this user has no page in the admin")
def test_the_admin_deletes_many_at_the_same_cost(staff: Callable[..., Client]) -> None:
    client = staff(is_superuser=True)
    numbers = []
    for size in (2, 6):
        made = [User.objects.create_user(f"{size}-{one}") for one in range(size)]
        log_in(made[:1])
        data = {
            "action": "delete_selected",
            "_selected_action": [user.pk for user in made],
            "post": "yes",
        }
        with CaptureQueriesContext(connection) as captured:
            answer = client.post("/admin/auth/user/", data)
        assert answer.status_code == 302
        names = (BlacklistEntry._meta.db_table, TokenSession._meta.db_table)
        ours = [query for query in captured if any(name in query["sql"] for name in names)]
        numbers.append(len(ours))
    assert LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User)).count()
    assert numbers[0] == numbers[1]
    assert BlacklistEntry.objects.filter(scope="session").count() == 2


# Another database


class Elsewhere:
    """Tokens have a connection of their own, to the same database."""

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return "elsewhere" if model._meta.app_label == "tokens" else None

    db_for_read = db_for_write

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


@pytest.fixture
def elsewhere(settings: Any) -> Iterator[None]:
    if not connection.features.has_select_for_update:
        pytest.skip("in one file, one transaction would wait for the other")
    connections.databases["elsewhere"] = connections["default"].settings_dict.copy()
    connections["elsewhere"].connect()  # a test may open only those that it declared
    settings.DATABASE_ROUTERS = [Elsewhere()]
    yield
    connections["elsewhere"].close()
    del connections["elsewhere"], connections.databases["elsewhere"]


@pytest.mark.usefixtures("elsewhere")
def test_a_login_looks_at_its_user_through_another_connection() -> None:
    (user,) = make_users(1)
    before = User._base_manager.get(pk=user.pk)
    assert RefreshToken.for_user(before)["sid"]
    user.set_password("another long password")
    user.save()
    assert not TokenSession.objects.exists()
    with pytest.raises(LoginOutdated):
        RefreshToken.for_user(before)
    assert not TokenSession.objects.exists()


@pytest.mark.usefixtures("elsewhere")
def test_users_may_be_read_through_another_connection() -> None:
    users = make_users(3)
    claims = log_in(users[:2])
    plain = PlainAccessToken.for_user(users[1])
    users[0].delete()
    User._base_manager.all().delete()
    assert all(map(blacklist.is_revoked, claims))
    assert blacklist.is_revoked(AccessToken(str(plain), verify=False).claims)
    assert len(entries_of_users()) == 2
