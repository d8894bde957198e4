"""Every door gives the same answer to "may this user use this token?"."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db.models import Count, Field
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError
from rest_framework_simplejwt.settings import api_settings

from tokens import sessions, users
from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.api.serializers import TokenRefreshSlidingSerializer
from tokens.jwt import AccessToken, AnyToken, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import PASSWORD, SECOND, Login, bearer
from .forge import USER_ID
from .services import Machine, Service
from .test_authentication import authenticate

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()

STATELESS = "tokens.api.authentication.JWTStatelessUserAuthentication"


def takes(kind: Any, text: str) -> int:
    try:
        kind(text)
    except TokenError:
        return 401
    return 200


def lets_in(text: str) -> int:
    try:
        async_to_sync(JWTAuthentication().aauthenticate_token)(text)
    except APIException as error:
        return error.status_code
    return 200


def post(path: str, **body: str) -> int:
    return int(APIClient().post(f"/api/token/{path}/", body).status_code)


def introspected(text: str) -> int:
    return 200 if Service(Machine()).active(text) else 401


ACCESS: dict[str, Callable[[str], int]] = {
    "request": lambda text: APIClient().get("/api/me/", **bearer(text)).status_code,
    "sessions/": lambda text: APIClient().get("/api/sessions/", **bearer(text)).status_code,
    "verify/": lambda text: post("verify", token=text),
    "introspect/": introspected,
    "AccessToken": lambda text: takes(AccessToken, text),
    "AnyToken": lambda text: takes(AnyToken, text),
    "averify": lambda text: takes(async_to_sync(AccessToken.averify), text),
    "aauthenticate": lambda text: lets_in(text),
}
REFRESH: dict[str, Callable[[str], int]] = {
    "verify/": lambda text: post("verify", token=text),
    "introspect/": introspected,
    "RefreshToken": lambda text: takes(RefreshToken, text),
    "AnyToken": lambda text: takes(AnyToken, text),
    "averify": lambda text: takes(async_to_sync(RefreshToken.averify), text),
    "refresh/": lambda text: post("refresh", refresh=text),
}


def answers(access: object, refresh: object) -> set[int]:
    """Return what all doors answer; refreshing comes last, because it uses the token up."""
    found = {name: ask(str(access)) for name, ask in ACCESS.items()}
    found |= {f"{name} of a refresh token": ask(str(refresh)) for name, ask in REFRESH.items()}
    assert len(set(found.values())) == 1, found
    return set(found.values())


@contextmanager
def default_manager(change: Callable[[Any], Any]) -> Iterator[None]:
    """Let the default manager of the user model return other rows."""
    manager: Any = type(User._default_manager)
    plain = manager.get_queryset
    with patch.object(manager, "get_queryset", lambda self: change(plain(self))):
        yield


def login_of(user: AbstractUser) -> tuple[object, object]:
    token = RefreshToken.for_user(user)
    return token.access_token, token


def plain_login_of(user: AbstractUser) -> tuple[object, object]:
    token = simplejwt.RefreshToken.for_user(user)
    return token.access_token, token


LOGINS = [login_of, plain_login_of]


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("log_in", LOGINS)
def test_a_user_in_good_standing_is_accepted_everywhere(
    log_in: Any, rotate: bool, user: AbstractUser, settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotate}
    assert answers(*log_in(user)) == {200}


@pytest.mark.any_database
@pytest.mark.parametrize("log_in", LOGINS)
def test_a_user_that_the_default_manager_hides_is_nobody(log_in: Any, user: AbstractUser) -> None:
    tokens = log_in(user)
    with default_manager(lambda rows: rows.exclude(pk=user.pk)):
        assert answers(*tokens) == {401}
        assert login_status(user) == 401
    assert answers(*tokens) == {200}


def login_status(user: AbstractUser) -> int:
    form = {"username": user.get_username(), "password": PASSWORD}
    return int(APIClient().post("/api/token/", form).status_code)


SHAPES: dict[str, Callable[[Any], Any]] = {
    "annotated": lambda rows: rows.annotate(number=Count("groups")),
    "distinct": lambda rows: rows.distinct(),
    "joined": lambda rows: rows.filter(groups__isnull=True),
    "narrow": lambda rows: rows.only("pk"),
    "sorted": lambda rows: rows.order_by("groups__name", "-pk"),
    "related": lambda rows: rows.prefetch_related("groups"),
}


@pytest.mark.any_database
@pytest.mark.parametrize("log_in", LOGINS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_default_manager_may_have_any_shape(
    shape: Callable[[Any], Any], log_in: Any, user: AbstractUser
) -> None:
    with default_manager(shape):
        assert answers(*log_in(user)) == {200}
        assert login_status(user) == 200


@pytest.mark.parametrize("log_in", LOGINS)
def test_an_inactive_user_is_refused_everywhere(log_in: Any, user: AbstractUser) -> None:
    tokens = log_in(user)
    User.objects.filter(pk=user.pk).update(is_active=False)  # unseen by the receivers
    assert answers(*tokens) == {401}


@pytest.mark.any_database
@pytest.mark.parametrize("log_in", LOGINS)
def test_inactive_users_are_let_in_if_the_project_says_so(
    log_in: Any, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "CHECK_USER_IS_ACTIVE", False)
    tokens = log_in(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert answers(*tokens) == {200}


@pytest.mark.parametrize("log_in", LOGINS)
def test_a_user_that_is_gone_is_refused_everywhere(log_in: Any, user: AbstractUser) -> None:
    tokens = log_in(user)
    User._base_manager.filter(pk=user.pk)._raw_delete("default")  # type: ignore[attr-defined]
    assert answers(*tokens) == {401}


@pytest.mark.any_database
def test_with_stateless_authentication_users_may_live_elsewhere(
    user: AbstractUser, settings: Any
) -> None:
    access, refresh = login_of(user)
    stranger = AccessToken()
    stranger[USER_ID] = "424242"
    assert takes(AccessToken, str(stranger)) == 401
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [STATELESS]}
    assert takes(AccessToken, str(stranger)) == post("verify", token=str(stranger)) == 200
    sessions.end_all(user)
    assert takes(AccessToken, str(access)) == takes(RefreshToken, str(refresh)) == 401


@pytest.mark.parametrize("name", ["ada lovelace", "o'brien", "ada@", "é" * 100, "-1", "1e5", "ⅴ"])
def test_a_name_that_a_form_would_reject_is_a_name(
    name: str, make_user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_by("username", settings, monkeypatch)
    user = make_user("ada")
    User.objects.filter(pk=user.pk).update(username=name)
    user.refresh_from_db()
    assert answers(*login_of(user)) == answers(*plain_login_of(user)) == {200}


def named_by(field: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"USER_ID_FIELD": field}
    monkeypatch.setattr(simplejwt.api_settings, "USER_ID_FIELD", field)


class SnowflakeField(Field):  # type: ignore[type-arg]
    """A project's own kind of number, of which no database backend knows the range."""

    def to_python(self, value: Any) -> int:
        return int(value)


@pytest.mark.any_database
def test_a_number_of_a_kind_that_django_does_not_know_names_users_too(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = SnowflakeField()
    monkeypatch.setattr(users, "id_field", lambda: field)
    claims = replace(RefreshToken.for_user(user).claims, user_id="7" * 15)
    assert users.lookup(claims) == (field, int("7" * 15))


@pytest.mark.any_database
def test_no_validator_of_the_field_runs(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_a_service(_value: object) -> None:
        raise AssertionError("a form's validator ran")

    tokens = login_of(user)
    monkeypatch.setattr(users.id_field(), "_validators", [ask_a_service])
    users.id_field().__dict__.pop("validators", None)
    assert answers(*tokens) == {200}


def test_an_address_that_passed_to_somebody_else_takes_no_token_along(
    make_user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_by("email", settings, monkeypatch)
    ada, bob = make_user("ada", email="x@example.com"), make_user("bob", email="b@example.com")
    access, refresh = login_of(ada)
    # Without a signal: only the session tells whose token it is.
    User.objects.filter(pk=ada.pk).update(email="y@example.com")
    User.objects.filter(pk=bob.pk).update(email="x@example.com")
    for max_age in (0 * SECOND, SECOND):
        settings.TOKENS_CHECK_MAX_AGE = max_age
        assert ACCESS["request"](str(access)) == 401
    settings.TOKENS_CHECK_MAX_AGE = 0 * SECOND
    assert answers(access, refresh) == {401}


@pytest.fixture
def check_revoke_token(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def switch(on: bool) -> None:
        monkeypatch.setattr(api_settings, "CHECK_REVOKE_TOKEN", on)
        monkeypatch.setattr(simplejwt.api_settings, "CHECK_REVOKE_TOKEN", on)

    return switch


def rehash(user: AbstractUser) -> None:
    """Do what another device's login does after an upgrade of Django."""
    fresh = User.objects.get(pk=user.pk)
    fresh.set_password(PASSWORD)
    fresh._password = None  # type: ignore[attr-defined]
    fresh.save(update_fields=["password"])


@pytest.mark.any_database
@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("log_in", LOGINS)
@pytest.mark.parametrize("how", ["rehashed", "switched on"])
def test_the_check_of_the_password_never_loops(
    how: str,
    log_in: Any,
    rotate: bool,
    user: AbstractUser,
    settings: Any,
    check_revoke_token: Callable[[bool], None],
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotate}
    check_revoke_token(how == "rehashed")
    access, refresh = log_in(user)
    if how == "rehashed":
        rehash(user)
    check_revoke_token(True)
    assert ACCESS["request"](str(access)) == 401
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(refresh)})
    if answer.status_code == 200:
        assert ACCESS["request"](answer.json()["access"]) == 200
    else:  # nothing tells whether the password of a token without a session has changed
        assert (answer.status_code, log_in, how) == (401, plain_login_of, "rehashed")
        assert answer.json()["code"] == "password_changed"


@pytest.mark.any_database
def test_a_sliding_token_of_another_password_is_not_extended(
    user: AbstractUser, check_revoke_token: Callable[[bool], None]
) -> None:
    check_revoke_token(True)
    token = SlidingToken.for_user(user)
    assert takes(SlidingToken, str(token)) == 200
    User.objects.filter(pk=user.pk).update(password="md5$x$y")
    assert takes(SlidingToken, str(token)) == 401


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(0, id="strict"),
        pytest.param(60, id="cached", marks=pytest.mark.any_database),
    ],
)
@pytest.mark.parametrize(
    "change", [{"password": "md5$x$y"}, {"is_active": False}, None], ids=["password", "no", "gone"]
)
def test_a_sliding_token_is_extended_only_for_a_user_who_may_use_it(
    user: AbstractUser,
    check_revoke_token: Callable[[bool], None],
    settings: Any,
    statements: Callable[[], Any],
    seconds: int,
    change: dict[str, Any] | None,
) -> None:
    """Nor does a change that no signal tells of leave an entry."""
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=seconds)
    check_revoke_token(True)
    token = str(SlidingToken.for_user(user))
    extended = TokenRefreshSlidingSerializer(data={"token": token})
    with statements() as ran:
        assert extended.is_valid()
    assert len(ran) == 1
    rows = User.objects.filter(pk=user.pk)
    if change is None:
        rows._raw_delete(rows.db)
    else:
        rows.update(**change)
    with pytest.raises((TokenError, AuthenticationFailed)):
        TokenRefreshSlidingSerializer(data={"token": token}).is_valid()


def guest() -> RefreshToken:
    token = RefreshToken()
    token["playlist"] = "5"
    return token


@pytest.mark.any_database
@pytest.mark.parametrize("rotate", [True, False])
def test_a_token_of_nobody_refreshes_and_is_judged_by_its_jti(
    rotate: bool, settings: Any, user: AbstractUser
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotate}
    token, other = guest(), guest()
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(token)})
    assert answer.status_code == 200
    access = AccessToken(answer.json()["access"])
    assert access["playlist"] == "5"
    assert post("verify", token=str(access)) == 200
    assert post("refresh", refresh=str(token)) == (401 if rotate else 200)
    sessions.end_all(user)
    assert post("refresh", refresh=str(other)) == 200
    access.blacklist()
    assert post("verify", token=str(access)) == 401
    assert not TokenSession.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("base", [JWTAuthentication, JWTStatelessUserAuthentication])
def test_a_project_may_say_who_a_token_of_nobody_is(base: Any) -> None:
    class Guests(base):  # type: ignore[misc]
        def get_user(self, validated_token: Any) -> str:
            return f"guest of {validated_token['playlist']}"

    access = guest().access_token
    assert authenticate(Guests, access)[0] == "guest of 5"
    assert Guests().get_validated_token(str(access).encode())["playlist"] == "5"
    with pytest.raises(APIException, match="no recognizable user"):
        authenticate(base, access)
    access.blacklist()  # type: ignore[attr-defined]
    with pytest.raises(APIException, match="blacklisted"):
        authenticate(Guests, access)


@pytest.mark.any_database
def test_a_revoked_token_of_a_hidden_user_stays_revoked(user: AbstractUser) -> None:
    access, refresh = login_of(user)
    with default_manager(lambda rows: rows.none()):
        sessions.end_all(user)
    assert answers(access, refresh) == {401}
    assert BlacklistEntry.objects.count() == 2


def test_authentication_still_takes_one_statement_for_everything(
    user: AbstractUser,
    statements: Callable[[], Any],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named_by("username", settings, monkeypatch)
    access, refresh = login_of(user)
    request = Request(APIRequestFactory().get("/", **bearer(access)))
    with statements() as ran:
        JWTAuthentication().authenticate(request)
    assert len(ran) == 1
    for kind, text in ((AccessToken, access), (RefreshToken, refresh), (AnyToken, refresh)):
        with statements() as ran:
            kind(str(text))
        assert len(ran) == 1
    with statements() as ran:
        Login(user)
    assert len(ran) == 2
    with statements() as ran:
        assert REFRESH["refresh/"](str(refresh)) == 200
    assert len(ran) == 2
