"""dj-rest-auth over our tokens, through its endpoints, with cookies and with bodies."""

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from conftest import PASSWORD, bearer
from dj_rest_auth.app_settings import api_settings
from dj_rest_auth.jwt_auth import JWTCookieAuthentication
from django.core.checks import run_checks
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from tokens import clock, sessions
from tokens.api.authentication import JWTAuthentication
from tokens.jwt import RefreshToken
from tokens.models import BlacklistEntry, TokenSession

pytestmark = pytest.mark.django_db(transaction=True)
OUT = "Successfully logged out."


@pytest.fixture(params=[False, True], ids=["", "ATOMIC_REQUESTS"])
def atomic_requests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", request.param)


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the tokens in bodies, and read them from there."""
    monkeypatch.setattr(api_settings, "JWT_AUTH_HTTPONLY", False)
    monkeypatch.setattr(api_settings, "JWT_AUTH_COOKIE", None)
    monkeypatch.setattr(api_settings, "JWT_AUTH_REFRESH_COOKIE", None)


def log_in() -> tuple[APIClient, Any]:
    client = APIClient(HTTP_USER_AGENT="a phone")
    answer = client.post("/dj/login/", {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 200, answer.json()
    return client, answer.json()


def copy_of(client: APIClient) -> APIClient:
    """Return a client that stole the cookies."""
    thief = APIClient()
    for name, morsel in client.cookies.items():
        thief.cookies[name] = morsel.value
    return thief


def me(client: APIClient, **headers: Any) -> int:
    return int(client.get("/me/", **headers).status_code)


def refresh(client: APIClient, token: str | None = None) -> Any:
    return client.post("/dj/token/refresh/", {"refresh": token} if token else {})


def test_nothing_is_left_to_complain_about() -> None:
    assert [one for one in run_checks() if str(one.id).startswith("tokens.")] == []


@pytest.mark.usefixtures("user", "atomic_requests")
def test_a_logout_by_cookie_ends_the_session() -> None:
    client, _ = log_in()
    session = TokenSession.objects.get()
    assert (session.user_agent, session.ip_address) == ("a phone", "127.0.0.1")
    thief = copy_of(client)
    assert (me(client), me(thief)) == (200, 200)
    answer = client.post("/dj/logout/")
    assert (answer.status_code, answer.json()) == (200, {"detail": OUT})
    assert (client.cookies["access"].value, client.cookies["refresh"].value) == ("", "")
    assert (me(thief), refresh(thief).status_code) == (401, 401)
    assert not TokenSession.objects.exists()


@pytest.mark.usefixtures("user", "bodies")
def test_a_logout_by_body_ends_the_session_and_says_if_it_ended_none() -> None:
    client, tokens = log_in()
    missing = client.post("/dj/logout/")
    assert missing.status_code == 401
    assert missing.json() == {"detail": "Refresh token was not included in request data."}
    for bad in ("1", 7, ["7"], "x" * 9000):
        answer = client.post("/dj/logout/", {"refresh": bad}, format="json")
        assert answer.status_code == 401
    assert client.post("/dj/logout/", "text", format="json").status_code == 500  # as upstream
    broken = client.post("/dj/logout/", "{", content_type="application/json")
    assert broken.status_code == 401
    assert me(client, **bearer(tokens["access"])) == 200
    answer = client.post("/dj/logout/", {"refresh": tokens["refresh"]})
    assert (answer.status_code, answer.json()) == (200, {"detail": OUT})
    assert me(client, **bearer(tokens["access"])) == 401
    again = client.post("/dj/logout/", {"refresh": tokens["refresh"]})
    assert (again.status_code, again.json()) == (401, {"detail": "Token is blacklisted"})


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("extra", [{}, {"refresh": "bad"}])
def test_the_access_token_of_the_request_tells_which_login_to_end(extra: dict[str, str]) -> None:
    client, tokens = log_in()
    other = APIClient()
    answer = other.post("/dj/logout/", extra, **bearer(tokens["access"]))
    assert (answer.status_code, answer.json()) == (200, {"detail": OUT})
    assert (me(client), refresh(client).status_code) == (401, 401)


@pytest.mark.usefixtures("user")
def test_the_other_place_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = log_in()
    raw = client.cookies["refresh"].value
    assert APIClient().post("/dj/logout/", {"refresh": raw}).status_code == 200
    assert me(client) == 401
    client, _ = log_in()
    monkeypatch.setattr(api_settings, "JWT_AUTH_HTTPONLY", False)
    assert copy_of(client).post("/dj/logout/").status_code == 200
    assert me(client) == 401


@pytest.mark.usefixtures("user")
def test_without_a_token_a_logout_is_no_success() -> None:
    answer = APIClient().post("/dj/logout/")
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Refresh token was not included in cookie data."}
    assert not BlacklistEntry.objects.exists()


@pytest.mark.usefixtures("user")
def test_a_database_that_fails_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = log_in()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "end", fail)
        assert client.post("/dj/logout/").status_code == 503
    assert me(client) == 200


def test_a_project_without_jwt_logs_out_as_ever(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "USE_JWT", False)
    assert APIClient().post("/dj/logout/").status_code == 400
    monkeypatch.setattr(api_settings, "SESSION_LOGIN", True)
    assert APIClient().post("/dj/logout/").json() == {"detail": OUT}


@pytest.mark.usefixtures("user", "atomic_requests")
def test_the_cookie_rotates_and_its_reuse_ends_the_session() -> None:
    client, _ = log_in()
    thief = copy_of(client)
    answer = refresh(client)
    assert (answer.status_code, "access" in answer.json()) == (200, True)
    assert client.cookies["refresh"].value != thief.cookies["refresh"].value
    assert TokenSession.objects.count() == 1
    with time_machine.travel(clock.now() + timedelta(minutes=1), tick=False):
        assert refresh(thief).status_code == 401
        assert refresh(client).status_code == 401
        assert me(client) == 401
    assert BlacklistEntry.objects.get().reason == "reuse"
    assert refresh(APIClient()).status_code == 401


@pytest.mark.usefixtures("bodies")
def test_a_refresh_by_body(user: Any) -> None:
    client, tokens = log_in()
    second = refresh(client, tokens["refresh"]).json()
    assert RefreshToken(second["refresh"])["sid"] == RefreshToken(tokens["refresh"])["sid"]
    assert client.post("/dj/token/verify/", {"token": second["access"]}).status_code == 200
    sessions.end_all(user)
    assert client.post("/dj/token/verify/", {"token": second["access"]}).status_code == 401


@pytest.mark.usefixtures("user")
def test_a_request_with_the_cookie_takes_one_statement() -> None:
    client, _ = log_in()
    with CaptureQueriesContext(connection) as ran:
        assert me(client) == 200
    assert len(ran) == 1, ran.captured_queries
    assert issubclass(JWTCookieAuthentication, JWTAuthentication)


def test_a_subclass_whose_get_user_asks_nothing_is_still_safe(user: Any) -> None:
    class Cached(JWTCookieAuthentication):  # type: ignore[misc]
        def get_user(self, validated_token: Any) -> Any:
            return user

    client, _ = log_in()
    request: Any = client.get("/me/").wsgi_request
    assert Cached().authenticate(rest(request))[0] == user
    sessions.end_all(user)
    with pytest.raises(Exception, match="blacklisted"):
        Cached().authenticate(rest(request))


def rest(request: Any) -> Any:
    from rest_framework.request import Request

    return Request(request)


@pytest.mark.usefixtures("db")
def test_a_registration_is_a_login() -> None:
    client = APIClient(HTTP_USER_AGENT="a phone")
    data = {"username": "bo", "email": "bo@example.com"}
    answer = client.post("/dj/registration/", data | {"password1": PASSWORD, "password2": PASSWORD})
    assert answer.status_code == 201, answer.json()
    access = answer.json()["access"]
    assert me(APIClient(), **bearer(access)) == 200
    session = TokenSession.objects.get()
    assert (session.user_agent, session.user.get_username()) == ("a phone", "bo")
    assert sessions.end_all(session.user) == 1
    assert me(APIClient(), **bearer(access)) == 401


@pytest.mark.usefixtures("user")
def test_a_new_password_ends_every_login() -> None:
    one, two = log_in()[0], log_in()[0]
    new = {"new_password1": "quite another one", "new_password2": "quite another one"}
    answer = one.post("/dj/password/change/", new | {"old_password": PASSWORD})
    assert answer.status_code == 200, answer.json()
    assert (me(one), me(two), refresh(two).status_code) == (401, 401, 401)


@pytest.mark.usefixtures("user")
def test_our_endpoints_know_the_cookie() -> None:
    one, two = log_in()[0], log_in()[0]
    listed = one.get("/tokens/sessions/").json()["results"]
    assert sorted(each["current"] for each in listed) == [False, True]
    assert one.post("/tokens/logout/others/").json() == {"sessions_ended": 1}
    assert (me(one), me(two)) == (200, 401)


@pytest.mark.parametrize(
    "first",
    ["rest_framework.views", "dj_rest_auth.jwt_auth", "dj_rest_auth.views", "tokens.api.views"],
)
def test_whatever_is_imported_first_is_patched(first: str) -> None:
    code = f"""
import django, sys
django.setup()
assert "rest_framework.views" not in sys.modules
import importlib
importlib.import_module({first!r})
from dj_rest_auth.jwt_auth import JWTCookieAuthentication
from tokens.api.authentication import JWTAuthentication
assert issubclass(JWTCookieAuthentication, JWTAuthentication)
from dj_rest_auth.views import LogoutView
assert LogoutView.logout.__wrapped__
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kinds", [("refresh",), ("refresh", "access")], ids=str)
def test_our_cookies_leave_those_of_dj_rest_auth_alone(
    user: Any, kinds: tuple[str, ...], settings: Any
) -> None:
    settings.TOKENS_COOKIES = kinds
    client = APIClient(HTTP_ORIGIN="http://testserver")
    answer = client.post("/dj/login/", {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 200
    assert set(answer.cookies) == {"access", "refresh"}
    assert answer.json()["access"]
    assert me(client) == 200
    answer = refresh(client)
    assert answer.status_code == 200
    assert set(answer.cookies) == {"access", "refresh"}
    ours = APIClient()
    ours.cookies["__Host-tokens_access"] = client.cookies["access"].value
    assert me(ours) == 401  # dj-rest-auth's class looks at its own cookie
    assert client.post("/dj/logout/").json() == {"detail": OUT}
    assert me(client) == 401
    assert not TokenSession.objects.exists()
