"""Other services ask whether a token is accepted (RFC 7662)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError
from django.urls import path
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.settings import api_settings as rest_framework
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework_simplejwt.settings import api_settings

from tokens import clock, sessions
from tokens.api.authentication import JWTAuthentication
from tokens.api.introspection import IntrospectView
from tokens.jwt import AccessToken, AnyToken, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import SECOND, Login, bearer
from .forge import signed
from .services import Machine, Service, basic, form, make_service
from .test_odd_requests import KINDS, ODD_CODECS

pytestmark = pytest.mark.django_db(transaction=True)

RIGHT = "introspect_token"


def test_an_access_token_is_described(user: AbstractUser) -> None:
    token = RefreshToken.for_user(user).access_token
    answer = Service(Machine()).introspect(token)
    assert answer.status_code == 200
    assert answer.json() == {
        "active": True,
        "token_type": "access",
        "sub": str(user.pk),
        "sid": token["sid"],
        "jti": token["jti"],
        "exp": token["exp"],
        "iat": token["iat"],
    }


@pytest.mark.any_database
@pytest.mark.parametrize("claims", [{"scope": "read write", "client_id": "shop", "nbf": 1}, {}])
def test_members_of_the_standard_are_told_if_the_token_has_them(
    claims: dict[str, Any], user: AbstractUser
) -> None:
    token = AccessToken.for_user(user)
    token.payload |= claims
    said = Service(Machine()).introspect(token).json()
    names = ("scope", "client_id", "nbf", "iss", "aud")
    assert {name: said[name] for name in names if name in said} == claims


def test_a_refresh_token_is_described_and_not_used_up(user: AbstractUser) -> None:
    token = RefreshToken.for_user(user)
    service = Service(Machine())
    for _ in range(3):
        said = service.introspect(token).json()
        assert (said["active"], said["token_type"]) == (True, "refresh")
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(token)})
    assert answer.status_code == 200
    assert service.active(answer.json()["refresh"])
    assert service.active(token)  # within the grace period, as a refresh would


def test_a_used_refresh_token_is_not_active_after_the_grace_period(
    user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    token = RefreshToken.for_user(user)
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(token)})
    assert not Service(Machine()).active(token)
    assert Service(Machine()).active(answer.json()["refresh"])  # asking ended no session
    assert TokenSession.objects.count() == 1


@pytest.mark.any_database
def test_a_sliding_token_is_active_if_requests_accept_it(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = SlidingToken.for_user(user)
    assert not Service(Machine()).active(token)
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", [AccessToken, SlidingToken])
    assert Service(Machine()).introspect(token).json()["token_type"] == "sliding"
    token.blacklist()
    assert not Service(Machine()).active(token)


@pytest.mark.any_database
@pytest.mark.parametrize("kinds", [[AnyToken], [AccessToken, AnyToken]])
def test_a_project_may_accept_any_type(
    kinds: list[Any], user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", kinds)
    said = Service(Machine()).introspect(signed(user_id=str(user.pk), token_type="door")).json()
    assert (said["active"], said["token_type"]) == (True, "door")


def expired(user: AbstractUser) -> str:
    token = AccessToken.for_user(user)
    token.set_exp(from_time=clock.now() - timedelta(hours=1))
    return str(token)


def revoked(user: AbstractUser) -> str:
    token = RefreshToken.for_user(user)
    token.blacklist()
    return str(token.access_token)


def of_a_user_who_is_inactive(user: AbstractUser) -> str:
    token = AccessToken.for_user(user)
    type(user).objects.filter(pk=user.pk).update(is_active=False)
    return str(token)


BAD: dict[str, Callable[[AbstractUser], str]] = {
    "garbage": lambda _user: "garbage",
    "a zero byte": lambda _user: "a\0b",
    "too long": lambda user: f"{AccessToken.for_user(user)}{'=' * 8192}",
    "forged": lambda user: f"{AccessToken.for_user(user)}x",
    "signed by nobody": lambda user: f"{str(AccessToken.for_user(user)).rpartition('.')[0]}.",
    "expired": expired,
    "revoked": revoked,
    "another type": lambda user: signed(user_id=str(user.pk), token_type="door"),
    "no type": lambda user: signed(user_id=str(user.pk), token_type=...),
    "no jti": lambda user: signed(user_id=str(user.pk), jti=...),
    "an odd exp": lambda user: signed(user_id=str(user.pk), exp=[1]),
    "an odd user": lambda _user: signed(user_id={"a": 1}),
    "nobody's": lambda _user: signed(user_id="424242"),
    "inactive": of_a_user_who_is_inactive,
}


@pytest.mark.any_database
@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_what_is_not_accepted_is_not_active_and_nothing_says_why(
    make: Callable[[AbstractUser], str], user: AbstractUser
) -> None:
    answer = Service(Machine()).introspect(make(user))
    assert (answer.status_code, answer.json()) == (200, {"active": False})


@pytest.mark.any_database
@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "pizza"])
def test_a_hint_changes_no_answer(hint: str, user: AbstractUser) -> None:
    token = RefreshToken.for_user(user)
    for one in (token, token.access_token):
        with_hint = Service(Machine()).introspect(one, token_type_hint=hint).json()
        assert with_hint == Service(Machine()).introspect(one).json()
        assert with_hint["active"]


@pytest.mark.any_database
def test_a_form_and_json_are_read(user: AbstractUser) -> None:
    token, service = str(AccessToken.for_user(user)), Service(Machine())
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    for body, content_type in (
        (f"token={token}&token_type_hint=access_token", kind),
        (f'{{"token": "{token}"}}', "application/json"),
    ):
        answer = service.api.post("/api/introspect/", body, content_type=content_type)
        assert answer.json()["active"], content_type


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("", "application/x-www-form-urlencoded"),
        ("token=", "application/x-www-form-urlencoded"),
        ("tokens=a", "application/x-www-form-urlencoded"),
        ("token=a&token=b", "application/x-www-form-urlencoded"),
        ("{", "application/json"),
        ("[]", "application/json"),
        ('"token"', "application/json"),
        ('{"token": 1}', "application/json"),
        ('{"token": ["a"]}', "application/json"),
        ("null", "application/json"),
    ],
)
@pytest.mark.parametrize("where", ["introspect", "revoke"])
def test_a_request_without_one_token_is_400(where: str, body: str, kind: str) -> None:
    answer = Service(Machine()).api.post(f"/api/{where}/", body, content_type=kind)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert {"detail", "code"} <= answer.json().keys()


@pytest.mark.any_database
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["introspect", "revoke"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of unicode_escape
def test_no_odd_body_gives_a_500(where: str, kind: str) -> None:
    content_type, body = KINDS[kind]
    api = Service(Machine()).api
    for codec in ODD_CODECS:
        answer = api.generic("POST", f"/api/{where}/", body, f"{content_type}; charset={codec}")
        assert answer.status_code in (200, 400, 415), codec
        if answer.status_code != 200:
            assert {"error", "detail", "code"} <= answer.json().keys(), codec


@pytest.mark.any_database
def test_another_content_type_is_415() -> None:
    answer = Service(Machine()).api.post("/api/introspect/", "a", content_type="text/plain")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.any_database
def test_the_answer_is_json_whatever_the_client_prefers_and_never_stored() -> None:
    service = Service(Machine())
    for accept in ("application/token-introspection+jwt", "text/html", "*/*"):
        answer = service.api.post("/api/introspect/", {"token": "a"}, HTTP_ACCEPT=accept)
        assert answer.headers["Content-Type"] == "application/json"
        assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.any_database
def test_only_post_is_answered() -> None:
    assert Service(Machine()).api.get("/api/introspect/").status_code == 405


# Who may ask


@pytest.mark.any_database
def test_the_projects_authentication_tells_who_asks(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = str(AccessToken.for_user(user))
    service = make_service(RIGHT)
    access = str(RefreshToken.for_user(service).access_token)
    assert form("introspect", f"token={token}", **bearer(access)).json()["active"]
    assert form("introspect", f"token={token}", **basic(service)).status_code == 401
    classes = [SessionAuthentication, BasicAuthentication]
    monkeypatch.setattr(rest_framework, "DEFAULT_AUTHENTICATION_CLASSES", classes)
    assert form("introspect", f"token={token}", **basic(service)).json()["active"]
    assert form("introspect", f"token={token}", **bearer(access)).status_code == 401


@pytest.mark.any_database
@pytest.mark.parametrize("where", ["introspect", "revocations"])
@pytest.mark.parametrize(
    ("classes", "challenge"),
    [
        ([JWTAuthentication], "Bearer"),
        ([SessionAuthentication, BasicAuthentication], "Basic"),
        ([SessionAuthentication], "Bearer"),
    ],
)
def test_nobody_is_asked_who_they_are(
    where: str, classes: list[Any], challenge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_framework, "DEFAULT_AUTHENTICATION_CLASSES", classes)
    answer = APIClient().generic("GET" if where == "revocations" else "POST", f"/api/{where}/")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith(challenge)
    assert {"detail", "code"} <= answer.json().keys()


@pytest.mark.any_database
@pytest.mark.parametrize("where", ["introspect", "revocations"])
def test_whoever_lacks_the_right_is_refused_before_the_token_is_read(
    where: str, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    service = make_service("view_blacklistentry", "unrevoke_blacklistentry")
    api = Service(service).api
    with statements() as ran:
        answer = (
            api.get("/api/revocations/")
            if where == "revocations"
            else api.post("/api/introspect/", {"token": str(user.pk)})
        )
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert len(ran) == 2  # of the user's rights
    assert not any("tokens_" in one for one in ran)


@pytest.mark.any_database
def test_a_caller_that_is_no_user_of_djangos_has_no_right() -> None:
    assert Service(object()).introspect("a").status_code == 403


class HasKey(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.headers.get("X-Key") == "secret")


class ForKeys(IntrospectView):
    """As djangorestframework-api-key would have it: a key is a permission."""

    authentication_classes = (BasicAuthentication,)
    permission_classes = (HasKey,)

    def describe(self, token: Any) -> dict[str, Any]:
        return super().describe(token) | {"tenant": token.payload["tenant"]}


urlpatterns = [path("introspect/", ForKeys.as_view())]


@pytest.mark.any_database
@pytest.mark.urls(__name__)
def test_a_subclass_says_who_may_ask_and_what_is_told(user: AbstractUser) -> None:
    token = AccessToken.for_user(user)
    token["tenant"] = "north"
    body = {"token": str(token)}
    assert APIClient().post("/introspect/", body).status_code == 401
    answer = APIClient().post("/introspect/", body, HTTP_X_KEY="secret")
    assert answer.json()["tenant"] == "north"
    assert "username" not in answer.json()


@pytest.mark.any_database
def test_the_name_of_the_user_is_for_callers_who_may_see_users(user: AbstractUser) -> None:
    token = AccessToken.for_user(user)
    assert "username" not in Service(make_service(RIGHT)).introspect(token).json()
    both = make_service(RIGHT, f"view_{user._meta.model_name}", name="portal")
    assert Service(both).introspect(token).json()["username"] == user.get_username()


def test_without_users_in_the_database_the_token_decides(user: AbstractUser, settings: Any) -> None:
    token = AccessToken.for_user(user)
    token["user_id"] = "424242"
    settings.REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": [
            "tokens.api.authentication.JWTStatelessUserAuthentication"
        ]
    }
    machine = Machine(f"{user._meta.app_label}.view_{user._meta.model_name}")
    said = Service(machine).introspect(token).json()
    assert (said["active"], said["sub"]) == (True, "424242")
    assert "username" not in said


# What it costs, and what it leaves


@pytest.mark.parametrize("seconds", [0, 60], ids=["strict", "cached"])
def test_asking_takes_one_statement_beside_the_callers_and_writes_nothing(
    seconds: int, user: AbstractUser, statements: Callable[[], Any], settings: Any
) -> None:
    settings.TOKENS_CHECK_MAX_AGE = seconds * SECOND
    refresh = RefreshToken.for_user(user)
    service = Service(Machine())
    before = list(TokenSession.objects.values()), list(BlacklistEntry.objects.values())
    for token in (refresh, refresh.access_token, AccessToken.for_user(user)):
        service.introspect(token)  # loads the snapshot, compiles the question
        with statements() as ran:
            assert service.active(token)
        assert len(ran) == 1
        assert ran[0].lstrip("( ").upper().startswith("SELECT")
    assert before == (list(TokenSession.objects.values()), list(BlacklistEntry.objects.values()))


@pytest.mark.any_database
def test_the_caller_costs_what_its_authentication_does(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    token = str(AccessToken.for_user(user))
    access = str(RefreshToken.for_user(make_service(RIGHT)).access_token)
    with statements() as ran:
        assert form("introspect", f"token={token}", **bearer(access)).json()["active"]
    assert len(ran) == 1 + 2 + 1  # who it is, its own rights and those of its groups, the token


def test_a_logout_counts_at_once(log_in: Callable[..., Login], user: AbstractUser) -> None:
    login, service = log_in(user), Service(Machine())
    assert service.active(login.access)
    assert login.logout().status_code == 204
    assert not service.active(login.access)
    assert not service.active(login.refresh_token)


def test_logging_out_everywhere_counts_at_once(user: AbstractUser) -> None:
    tokens = [AccessToken.for_user(user), RefreshToken.for_user(user)]
    sessions.end_all(user)
    assert not any(map(Service(Machine()).active, tokens))


@pytest.mark.any_database
def test_a_database_that_does_not_answer_says_nothing_of_the_token(user: AbstractUser) -> None:
    token = AccessToken.for_user(user)
    with patch("tokens.blacklist.user_of", side_effect=DatabaseError):
        answer = Service(Machine()).introspect(token)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert "active" not in answer.json()
    assert answer.json()["code"] == "service_unavailable"
    assert answer.json()["error"] == "temporarily_unavailable"


@pytest.mark.any_database
def test_error_reports_show_no_token(user: AbstractUser) -> None:
    request = APIRequestFactory().post("/", {"token": str(AccessToken.for_user(user))})
    IntrospectView.as_view()(request)
    assert request.sensitive_post_parameters == "__ALL__"  # type: ignore[attr-defined]
