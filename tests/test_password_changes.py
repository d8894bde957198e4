"""Which saves of a user end sessions: a new password, no longer active, another id. No others."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser
from django.core import serializers
from django.db import connections, transaction
from django.db.models import Value
from django.db.models.signals import post_save, pre_save
from rest_framework.test import APIRequestFactory
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken

from tokens import blacklist, sessions
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, TokenSession

from .conftest import PASSWORD, Login, alive, bearer, better_hasher, dead
from .snippets import HOWTO, snippet

pytestmark = pytest.mark.django_db(transaction=True)

User: Any = get_user_model()

Change = Callable[[Any], object]
Statements = Callable[[], AbstractContextManager[list[str]]]


def fresh(user: Any) -> Any:
    return User._base_manager.get(pk=user.pk)


def run(waiting: Coroutine[Any, Any, Any]) -> Any:
    async def run_and_close() -> Any:
        try:
            return await waiting
        finally:
            await sync_to_async(connections.close_all)()  # those of the other thread

    return asyncio.run(run_and_close())


def reasons() -> set[str]:
    return set(BlacklistEntry.objects.values_list("reason", flat=True))


def set_password(user: Any, **options: Any) -> None:
    user.set_password("a new one")
    user.save(**options)


def assign(user: Any, **options: Any) -> None:
    user.password = make_password("a new one")
    user.save(**options)


def disable(user: Any) -> None:
    user.set_unusable_password()
    user.save()


def disable_in_the_admin(user: Any) -> None:
    form = AdminPasswordChangeForm(user, {"usable_password": "false"})
    assert form.is_valid(), form.errors
    form.save()
    assert not fresh(user).has_usable_password()


def change_by_update_or_create(user: Any) -> None:
    User._default_manager.update_or_create(
        pk=user.pk, defaults={"password": make_password("a new one")}
    )


def change_the_same_instance_again(user: Any, **options: Any) -> None:
    user.set_password(PASSWORD)
    user.save()
    assert TokenSession.objects.exists()
    assign(user, **options)


def save_only_later(user: Any) -> None:
    user.set_password("a new one")
    user.save(update_fields=["last_name"])
    assert TokenSession.objects.exists()
    user.save()


def save_another_than_was_set(user: Any) -> None:
    user.set_password(PASSWORD)
    assign(user)


def save_a_new_instance(user: Any) -> None:
    if User._meta.pk.has_default():
        pytest.skip("Django would insert it")
    values = {field.attname: getattr(user, field.attname) for field in User._meta.concrete_fields}
    User(**values | {"password": make_password("a new one")}).save()


def save_a_deferred_instance(user: Any) -> None:
    assign(User._base_manager.only("password").get(pk=user.pk))


def save_an_expression(user: Any) -> None:
    user.password = Value(make_password("a new one"))
    user.save()


def save_asynchronously(user: Any) -> None:
    user.set_password("a new one")
    run(user.asave(update_fields=["password"]))


NEW: dict[str, Change] = {
    "set_password": set_password,
    "of these fields": lambda user: set_password(user, update_fields=["password"]),
    "make_password": assign,
    "make_password of these fields": lambda user: assign(user, update_fields={"password"}),
    "unusable": disable,
    "unusable in the admin": disable_in_the_admin,
    "update_or_create": change_by_update_or_create,
    "again": change_the_same_instance_again,
    "again, these fields": lambda user: change_the_same_instance_again(
        user, update_fields=["password"]
    ),
    "later": save_only_later,
    "another than was set": save_another_than_was_set,
    "new instance": save_a_new_instance,
    "deferred": save_a_deferred_instance,
    "expression": save_an_expression,
    "async": save_asynchronously,
}


# The others differ in what Django calls, and not in what it asks the database.
ON_EACH_DATABASE = ("set_password", "of these fields", "update_or_create", "expression", "async")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            change, id=name, marks=[] if name in ON_EACH_DATABASE else pytest.mark.any_database
        )
        for name, change in NEW.items()
    ],
)
def test_a_hash_for_another_password_ends_all_sessions_at_once(
    change: Change, user: AbstractUser, make_user: Any
) -> None:
    login, other = Login(user), Login(make_user("grace"))
    plain = PlainAccessToken.for_user(user)
    change(fresh(user))
    assert reasons() == {"password_change"}
    assert blacklist.is_revoked(AccessToken(str(plain), verify=False).claims)
    assert dead(login)
    assert alive(other)


def test_a_password_for_somebody_who_had_none_is_new(user: AbstractUser) -> None:
    disable(fresh(user))
    claims = RefreshToken.for_user(fresh(user)).claims
    set_password(fresh(user))
    assert not TokenSession.objects.exists()
    assert blacklist.is_revoked(claims)


@pytest.mark.any_database
def test_a_new_password_after_a_better_hash_is_new(user: AbstractUser, settings: Any) -> None:
    RefreshToken.for_user(user)
    with better_hasher(settings):
        instance = fresh(user)
        assert instance.check_password(PASSWORD)
        assert instance.password.startswith("pbkdf2")
        assert TokenSession.objects.exists()
        assign(instance)
    assert not TokenSession.objects.exists()


@pytest.mark.any_database
def test_what_a_usual_save_leaves_behind_excuses_no_later_hash(
    user: AbstractUser, settings: Any
) -> None:
    RefreshToken.for_user(user)
    instance = fresh(user)
    save_the_same(instance)
    assert TokenSession.objects.exists()
    with better_hasher(settings):
        assign(instance, update_fields=["password"])
    assert not TokenSession.objects.exists()


@pytest.mark.parametrize("update", ["update", "bulk_update"])
def test_a_bulk_update_is_noticed_by_the_next_refresh(update: str, user: AbstractUser) -> None:
    login, user = Login(user), fresh(user)
    user.password = make_password("a new one")
    if update == "update":
        User._base_manager.filter(pk=user.pk).update(password=user.password)
    else:
        User._base_manager.bulk_update([user], ["password"])
    assert login.me().status_code == 200
    assert dead_after_refresh(login)
    assert reasons() == {"password_change"}


def dead_after_refresh(login: Login) -> bool:
    return login.refresh().status_code == 401 and dead(login)


# The same password


def save_as_it_is(user: Any) -> None:
    user.save()


def save_the_same(user: Any, **options: Any) -> None:
    user.set_password(PASSWORD)
    user.save(**options)


def save_other_fields(user: Any) -> None:
    user.set_password("never saved")
    user.last_name = "Lovelace"
    user.save(update_fields=["last_name"])


def fail_to_save(user: Any) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        set_password(user)
        raise ZeroDivisionError


def load_data(user: Any) -> None:
    [loaded] = serializers.deserialize("json", serializers.serialize("json", [user]))
    loaded.save()


SAME: dict[str, Change] = {
    "as it is": save_as_it_is,
    "the same": save_the_same,
    "the same again": lambda user: (save_the_same(user), save_the_same(user)),
    "the same, these fields": lambda user: save_the_same(user, update_fields=["password"]),
    "other fields": save_other_fields,
    "rolled back": fail_to_save,
    "loaded": load_data,
    "deferred": lambda user: User._base_manager.defer("password").get(pk=user.pk).save(),
}


@pytest.mark.any_database
@pytest.mark.parametrize("save", SAME.values(), ids=SAME)
def test_the_same_password_ends_nothing(save: Change, user: AbstractUser) -> None:
    login = Login(user)
    save(fresh(user))
    assert alive(login)
    assert not BlacklistEntry.objects.exists()


def stamping(change: Callable[[Any], Any]) -> Any:
    """Return a ``save`` that widens ``update_fields``, as models with a time stamp have it."""
    plain = User.save

    def save(self: Any, *args: Any, update_fields: Any = None, **options: Any) -> None:
        plain(self, *args, update_fields=update_fields and change(update_fields), **options)

    return patch.object(User, "save", save)


WIDER: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda fields: fields,
    "one more": lambda fields: {*fields, "last_name"},
    "all": lambda fields: None,
}


@pytest.mark.any_database
@pytest.mark.parametrize("wider", WIDER.values(), ids=WIDER)
@pytest.mark.parametrize("method", ["check_password", "acheck_password", "login"])
def test_a_better_hash_keeps_the_other_devices(
    method: str, wider: Callable[[Any], Any], user: AbstractUser, settings: Any
) -> None:
    phone, before = Login(user), fresh(user).password
    with better_hasher(settings), stamping(wider):
        if method == "login":
            Login(user)
        elif method == "check_password":
            assert fresh(user).check_password(PASSWORD)
        else:
            assert run(fresh(user).acheck_password(PASSWORD))
    assert fresh(user).password != before
    assert not BlacklistEntry.objects.exists()
    assert alive(phone)


@pytest.mark.any_database
def test_a_hasher_that_only_the_project_knows_is_followed_by_a_better_hash(
    user: AbstractUser,
) -> None:
    User._base_manager.filter(pk=user.pk).update(password="legacy:3d2e1f")
    RefreshToken.for_user(fresh(user))
    instance = fresh(user)
    instance.set_password(PASSWORD)
    instance._password = None  # as a check_password of the project's own would
    instance.save(update_fields=["password"])
    session = TokenSession.objects.get()
    assert session.auth_hash == fresh(user).get_session_auth_hash()


@pytest.mark.any_database
def test_an_unusable_password_that_stays_unusable_is_the_same(user: AbstractUser) -> None:
    login = Login(user)
    User._base_manager.filter(pk=user.pk).update(password=make_password(None))
    TokenSession.objects.update(auth_hash=fresh(user).get_session_auth_hash())
    for _ in range(2):
        before = fresh(user).password
        disable(fresh(user))
        assert fresh(user).password != before
    assert alive(login)
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("rehash", ["better", "same"])
def test_a_session_from_under_the_former_key_gets_the_new_hash(
    rehash: str, user: AbstractUser, settings: Any
) -> None:
    login = Login(user)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [settings.SECRET_KEY]
    if rehash == "better":
        with better_hasher(settings):
            assert fresh(user).check_password(PASSWORD)
    else:
        save_the_same(fresh(user))
    settings.SECRET_KEY_FALLBACKS = []
    assert alive(login)


@pytest.mark.any_database
def test_a_session_that_does_not_fit_gets_no_new_hash(user: AbstractUser) -> None:
    RefreshToken.for_user(user)
    TokenSession.objects.update(auth_hash="of another password")
    save_the_same(fresh(user))
    assert TokenSession.objects.get().auth_hash == "of another password"


# What is not a password


def deactivate(user: Any) -> None:
    user.is_active = False
    user.save()


def test_only_the_save_that_deactivates_ends_sessions(user: AbstractUser) -> None:
    claims = RefreshToken.for_user(user).claims
    deactivate(fresh(user))
    assert blacklist.is_revoked(claims)
    assert reasons() == {"deactivation"}
    BlacklistEntry.objects.all().delete()
    RefreshToken.for_user(fresh(user))
    deactivate(fresh(user))
    assert TokenSession.objects.exists()
    assert not BlacklistEntry.objects.exists()


@pytest.mark.parametrize("active", [True, False])
def test_saving_a_user_who_does_not_change_costs_one_statement(
    active: bool, user: AbstractUser, statements: Statements
) -> None:
    User._base_manager.update(is_active=active)
    instance = fresh(user)
    RefreshToken.for_user(instance)
    with statements() as ran:
        instance.save()
    assert len(ran) == 2, ran
    with statements() as ran:
        instance.save(update_fields=["last_login", "first_name"])
    assert len(ran) == 1, ran


def test_creating_a_user_costs_nothing(statements: Statements) -> None:
    with statements() as ran:
        User(username="ada").save()
    assert len(ran) == 1, ran
    assert not BlacklistEntry.objects.exists()


def test_a_user_may_be_created_with_a_key_of_ones_own(user: AbstractUser) -> None:
    key = user.pk
    user.delete()
    made = User(pk=key, username="grace", is_active=False)
    set_password(made)
    assert not BlacklistEntry.objects.exists()
    RefreshToken.for_user(made)
    assign(made)
    assert reasons() == {"password_change"}


@pytest.mark.any_database
def test_a_receiver_may_save_the_user_again(user: AbstractUser) -> None:
    def again(instance: Any, **options: Any) -> None:
        if instance.last_name != "again":
            instance.last_name = "again"
            instance.save()

    RefreshToken.for_user(user)
    for signal in (pre_save, post_save):
        signal.connect(again, User)
        try:
            instance = fresh(user)
            instance.last_name = ""
            RefreshToken.for_user(instance)
            instance.set_password(f"another one after {signal}")
            instance.save()
        finally:
            signal.disconnect(again, User)
        assert not TokenSession.objects.exists()


@pytest.mark.any_database
def test_a_project_may_mute_one_of_the_two_signals(user: AbstractUser) -> None:
    instance = fresh(user)
    with patch.object(pre_save, "send"):
        set_password(instance)
    with patch.object(post_save, "send"):
        set_password(instance)
    instance.password = make_password("yet another one")
    instance.save()
    assert reasons() == {"password_change"}


# Another id


@pytest.fixture
def named_by_email(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"USER_ID_FIELD": "email"}
    monkeypatch.setattr(simplejwt.api_settings, "USER_ID_FIELD", "email")


def move(user: Any, email: str, **options: Any) -> None:
    user = fresh(user)
    user.email = email
    user.save(**options)


@pytest.mark.any_database
@pytest.mark.usefixtures("named_by_email")
@pytest.mark.parametrize("events", [("password_change", "deactivation", "deletion"), ()])
@pytest.mark.parametrize("options", [{}, {"update_fields": ["email"]}])
def test_an_address_that_moves_on_takes_no_token_with_it(
    options: Any, events: Any, make_user: Any, settings: Any
) -> None:
    settings.TOKENS_REVOKE_ON = events
    ada = make_user("ada", email="x@example.com")
    bob = make_user("bob", email="b@example.com")
    login, plain = Login(ada), PlainAccessToken.for_user(ada)
    move(ada, "y@example.com", **options)
    assert reasons() == {"id_change"}
    move(bob, "x@example.com", **options)
    assert dead(login)
    assert login.me(str(plain)).status_code == 401
    for user in (ada, bob):
        claims = RefreshToken.for_user(fresh(user)).claims
        assert not blacklist.is_revoked(claims)


@pytest.mark.usefixtures("named_by_email")
def test_a_new_address_and_a_new_password_at_once_end_the_kept_session_too(
    make_user: Any,
) -> None:
    user = fresh(make_user("ada", email="x@example.com"))
    claims = RefreshToken.for_user(user).claims
    with sessions.keeping(claims.sid):
        user.email = "y@example.com"
        set_password(user)
    assert not TokenSession.objects.exists()
    assert reasons() == {"id_change"}


@pytest.mark.any_database
def test_a_wrong_name_for_the_id_stops_no_save(user: AbstractUser, settings: Any) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"USER_ID_FIELD": "nothing"}
    for fields in (None, ["last_login"], ["password"]):
        fresh(user).save(update_fields=fields)
    assert not BlacklistEntry.objects.exists()


# TOKENS_REVOKE_ON


@pytest.mark.any_database
@pytest.mark.parametrize("events", [(), ("deactivation", "deletion")])
@pytest.mark.parametrize("rotate", [True, False])
def test_a_password_that_does_not_count_ends_nothing_at_the_refresh_either(
    rotate: bool, events: Any, user: AbstractUser, settings: Any, statements: Statements
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotate}
    settings.TOKENS_REVOKE_ON = events
    login = Login(user)
    with statements() as usual:
        login.refresh_token = login.refresh().json().get("refresh", login.refresh_token)
    set_password(fresh(user))
    with statements() as ran:
        answer = login.refresh()
    assert answer.status_code == 200
    assert len(ran) == len(usual) == 2
    assert not BlacklistEntry.objects.exists()
    assert TokenSession.objects.get().auth_hash == fresh(user).get_session_auth_hash()


@pytest.mark.any_database
@pytest.mark.parametrize("rotate", [True, False])
def test_a_refresh_lets_the_former_secret_key_go(
    rotate: bool, user: AbstractUser, settings: Any, statements: Statements
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotate}
    login, idle = Login(user), Login(user)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [settings.SECRET_KEY]
    with statements() as ran:
        login.refresh_token = login.refresh().json().get("refresh", login.refresh_token)
    assert len(ran) == 2
    settings.SECRET_KEY_FALLBACKS = []
    assert alive(login)
    assert dead_after_refresh(idle)


@pytest.mark.any_database
def test_one_event_does_not_hide_another(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_REVOKE_ON = ("deactivation",)
    RefreshToken.for_user(user)
    instance = fresh(user)
    instance.is_active = False
    set_password(instance)
    assert reasons() == {"deactivation"}


# Keep this device


@pytest.mark.any_database
def test_the_device_that_changes_the_password_as_documented_stays_logged_in(
    user: AbstractUser,
) -> None:
    names: dict[str, Any] = {}
    beginning = "from django.contrib.auth.forms import PasswordChangeForm"
    exec(snippet("sessions", language="python", beginning=beginning, folder=HOWTO), names)  # noqa: S102
    view = names["ChangePasswordView"].as_view()

    def post(login: Login, old: str) -> int:
        data = {"old_password": old, "new_password1": "f8s7dfs8", "new_password2": "f8s7dfs8"}
        status: int = view(APIRequestFactory().post("/", data, **bearer(login.access))).status_code
        return status

    laptop, phone = Login(user), Login(user)
    plain = PlainAccessToken.for_user(user)
    assert post(laptop, "wrong") == 400
    assert alive(phone)
    assert post(laptop, PASSWORD) == 204
    assert dead(phone)
    assert laptop.me(str(plain)).status_code == 401
    assert alive(laptop)
    assign_another(user)
    assert dead(laptop)


def assign_another(user: Any) -> None:
    user = fresh(user)
    user.password = make_password("yet another one")
    user.save()


@pytest.mark.any_database
def test_the_kept_device_refreshes_even_if_tokens_carry_the_hash_of_the_password(
    user: AbstractUser, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"CHECK_REVOKE_TOKEN": True}
    monkeypatch.setattr(simplejwt.api_settings, "CHECK_REVOKE_TOKEN", True)
    login = Login(user)
    with sessions.keeping(AccessToken(login.access)):
        set_password(fresh(user))
    assert login.me().status_code == 401
    answer = login.refresh()
    assert answer.status_code == 200
    assert login.me(answer.json()["access"]).status_code == 200


SPELLINGS: dict[str, Callable[[Login], Any]] = {
    "refresh": lambda login: RefreshToken(login.refresh_token),
    "access": lambda login: AccessToken(login.access),
    "text": lambda login: AccessToken(login.access)["sid"],
    "uuid": lambda login: UUID(AccessToken(login.access)["sid"]),
}


@pytest.mark.any_database
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_kept_session_may_be_named_by_token_or_id(
    spelling: Callable[[Login], Any], user: AbstractUser
) -> None:
    laptop, phone = Login(user), Login(user)
    with sessions.keeping(spelling(laptop)):
        set_password(fresh(user))
        assign_another(user)
    assert dead(phone)
    assert alive(laptop)


NOTHING: dict[str, Callable[[Any], Any]] = {
    "None": lambda _user: None,
    "of another kind": lambda _user: object(),
    "ended": lambda _user: new_sid(),
    "without session": AccessToken.for_user,
}


@pytest.mark.any_database
@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_nothing_else_keeps_a_session(nothing: Callable[[Any], Any], user: AbstractUser) -> None:
    login = Login(user)
    with sessions.keeping(nothing(user)):
        set_password(fresh(user))
    assert dead(login)


@pytest.mark.any_database
@pytest.mark.parametrize("text", ["", "x", "eyJhbGciOiJIUzI1NiJ9.e30.x"])
def test_a_text_that_is_no_session_id_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of a session"), sessions.keeping(text):
        raise AssertionError


def test_the_session_of_somebody_else_is_none_of_this_users(
    user: AbstractUser, make_user: Any
) -> None:
    login, other = Login(user), Login(make_user("grace"))
    before = TokenSession.objects.get(pk=AccessToken(other.access)["sid"]).auth_hash
    with sessions.keeping(AccessToken(other.access)):
        set_password(fresh(user))
    assert dead(login)
    assert TokenSession.objects.get().auth_hash == before


def deactivate_with_new_password(user: Any) -> None:
    user.is_active = False
    set_password(user)


@pytest.mark.any_database
@pytest.mark.parametrize(
    "end",
    [deactivate, deactivate_with_new_password, lambda user: user.delete(), sessions.end_all],
)
def test_only_a_new_password_leaves_the_kept_session(
    end: Callable[[Any], object], user: AbstractUser
) -> None:
    login = Login(user)
    with sessions.keeping(AccessToken(login.access)):
        end(fresh(user))
    assert dead(login)


def test_keeping_ends_with_its_context_and_undoes_all_of_it(user: AbstractUser) -> None:
    login = Login(user)
    before = fresh(user).password
    with pytest.raises(ZeroDivisionError), sessions.keeping(AccessToken(login.access)):
        set_password(fresh(user))
        raise ZeroDivisionError
    assert fresh(user).password == before
    assert alive(login)
    set_password(fresh(user))
    assert dead(login)


@pytest.mark.any_database
def test_the_innermost_context_counts(user: AbstractUser) -> None:
    laptop, phone = Login(user), Login(user)
    with sessions.keeping(AccessToken(laptop.access)):
        with sessions.keeping(AccessToken(phone.access)):
            pass
        set_password(fresh(user))
    assert alive(laptop)
    assert dead(phone)
