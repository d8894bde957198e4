"""Tokens in cookies: what browsers get, and what neither another site nor a script can do."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import include, path
from rest_framework import serializers as drf
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework_simplejwt import views as simplejwts

from project.views import MeView
from tokens import clock, sessions
from tokens.api import authentication, browsers, cookies, serializers, views
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import PASSWORD, bearer
from .forge import sign
from .tabs import Tab, attributes

pytestmark = pytest.mark.django_db(transaction=True)

BOTH = ("refresh", "access")


class Write(APIView):
    """A view of a project, with the class that it has as its default."""

    def get(self, request: Request) -> Response:
        return Response({"user": request.user.pk})

    post = put = patch = delete = get


class WriteStateless(Write):
    authentication_classes = (authentication.JWTStatelessUserAuthentication,)


class OwnLogin(browsers.LogsInByCookie, APIView):
    """A login of a project, with a password of its own."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def post(self, request: Request) -> Response:
        from django.contrib.auth.models import User

        refresh = RefreshToken.for_user(User.objects.get(username=request.data["code"]))
        return Response({"refresh": str(refresh), "access": str(refresh.access_token), "new": 1})


tokens_urls = include("tokens.urls")
urlpatterns = [
    path("api/", tokens_urls),
    path("api/me/", MeView.as_view()),
    path("write/", Write.as_view()),
    path("write/stateless/", WriteStateless.as_view()),
    path("own/login/", OwnLogin.as_view()),
    path("text/<str:version>/", tokens_urls),
    path("two/<slug:tenant>/<int:year>/", tokens_urls),
    path("named/v1/", include(("tokens.urls", "auth"), namespace="v1")),
    path("deep/", include([path("er/", include([path("auth/", tokens_urls)]))])),
    path("by/hand/", include([path("in/", views.TokenObtainPairView.as_view())])),
    path("plain/token/", simplejwts.TokenObtainPairView.as_view()),
    path("plain/token/refresh/", simplejwts.TokenRefreshView.as_view()),
    path("plain/logout/", simplejwts.TokenBlacklistView.as_view()),
    *i18n_patterns(path("i18n/", tokens_urls)),
    path("in/", views.TokenObtainPairView.as_view()),
]
here = pytest.mark.urls("tests.test_cookies")


@pytest.fixture(params=[("refresh",), BOTH], ids=["refresh", "both"])
def kinds(request: pytest.FixtureRequest, settings: Any) -> Any:
    settings.TOKENS_COOKIES = request.param
    return request.param


@pytest.fixture
def both(settings: Any) -> None:
    settings.TOKENS_COOKIES = BOTH


@pytest.fixture
def tab(user: AbstractUser) -> Tab:
    return Tab()


def auth(tab: Tab) -> dict[str, Any]:
    """Return the header that a page sends which has the access token in a variable."""
    access = (tab.answer.data or {}).get("access")
    return bearer(access) if access else {}


# What a browser gets


@pytest.mark.any_database
def test_a_browser_gets_the_refresh_token_in_a_cookie_and_not_in_the_body(
    tab: Tab, settings: Any
) -> None:
    settings.TOKENS_COOKIES = ("refresh",)
    answer = tab.log_in()
    assert set(answer.json()) == {"access"}
    assert tab.cookie("access") is None
    assert attributes(tab.cookie("refresh")) == {
        "name": "__Secure-tokens_refresh",
        "path": "/api/",
        "domain": "",
        "samesite": "Lax",
        "secure": True,
        "httponly": True,
    }
    assert tab.token("refresh") not in answer.text
    before = tab.token("refresh")
    answer = tab.refresh()
    assert set(answer.json()) == {"access"}
    assert tab.token("refresh") not in {before, ""}
    assert tab.send("get", "me/", **bearer(answer.json()["access"])).status_code == 200


@pytest.mark.any_database
def test_with_both_no_token_is_in_a_body(tab: Tab, both: None) -> None:
    for answer in (tab.log_in(), tab.refresh()):
        assert answer.json() == {}
        assert attributes(tab.cookie("access")) == {
            "name": "__Host-tokens_access",
            "path": "/",
            "domain": "",
            "samesite": "Lax",
            "secure": True,
            "httponly": True,
        }
    assert tab.send("get", "me/").status_code == 200
    assert tab.send("get", "sessions/").json()["results"][0]["current"] is True


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["token/", "token/refresh/", "logout/"])
def test_without_the_setting_nothing_is_different_for_a_browser(name: str, tab: Tab) -> None:
    tokens = tab.api.post("/api/token/", {"username": "ada", "password": PASSWORD}).json()
    assert set(tokens) == {"refresh", "access"}
    body = {"username": "ada", "password": PASSWORD, "refresh": tokens["refresh"]}
    for kind in BOTH:
        tab.api.cookies[cookies.name(kind)] = tokens[kind]
    answer = tab.api.post(f"/api/{name}", body)
    assert answer.status_code in (200, 204)
    assert not answer.cookies
    assert not {"X-Csrftoken", "Set-Cookie"} & set(answer.headers)
    assert tab.api.get("/api/me/").status_code == 401


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ({"SECURE": False}, "refresh", {"name": "tokens_refresh", "secure": ""}),
        ({"SECURE": False}, "access", {"name": "tokens_access", "secure": "", "path": "/"}),
        ({"SAMESITE": "Strict"}, "access", {"samesite": "Strict"}),
        ({"SAMESITE": "None"}, "refresh", {"samesite": "None"}),
        ({"DOMAIN": "example.com"}, "access", {"name": "__Secure-tokens_access"}),
        ({"DOMAIN": "example.com"}, "refresh", {"domain": "example.com", "path": "/api/"}),
        ({"PATH": "/backend/"}, "refresh", {"path": "/backend/"}),
        ({"PATH": "/backend/"}, "access", {"path": "/", "name": "__Host-tokens_access"}),
    ],
    ids=str,
)
def test_attributes_follow_the_settings_also_to_delete(
    given: dict[str, Any], kind: str, expected: dict[str, Any], tab: Tab, both: None, settings: Any
) -> None:
    for name, value in given.items():
        setattr(settings, f"TOKENS_COOKIE_{name}", value)
    tab.log_in()
    made = attributes(tab.cookie(kind))
    assert {**made, **expected} == made
    assert tab.post("logout/").status_code == 204
    assert tab.deleted() == set(BOTH)
    assert attributes(tab.cookie(kind)) == made


@pytest.mark.any_database
def test_cookies_are_secure_unless_debugging(settings: Any) -> None:
    for debug in (True, False):
        settings.DEBUG = debug
        assert cookies.name("access").startswith("__Host-") is not debug


@pytest.mark.any_database
def test_a_cookie_lives_as_long_as_its_token(tab: Tab, both: None, settings: Any) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"REFRESH_TOKEN_LIFETIME": timedelta(days=7)}
    before = clock.to_epoch(clock.now())
    tab.log_in()
    after = clock.to_epoch(clock.now())
    for kind in BOTH:
        payload = json.loads(json.dumps(cookies.signed_token(tab.token(kind)).payload))
        cookie = tab.cookie(kind)
        assert cookie is not None
        assert payload["exp"] - after - 1 <= cookie["max-age"] <= payload["exp"] - before + 1


class Remembering(serializers.TokenObtainPairSerializer):
    remember = drf.BooleanField(default=False, write_only=True)

    def get_token(self, user: Any) -> Any:
        token = super().get_token(user)
        if self.initial_data.get("remember"):
            token.set_exp(lifetime=timedelta(days=30))
        return token


@pytest.mark.any_database
@pytest.mark.parametrize("remember", [True, False])
def test_remember_me_makes_the_cookie_live_longer(
    remember: bool, tab: Tab, both: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{__name__}.Remembering"
    monkeypatch.setattr(views.api_settings, "TOKEN_OBTAIN_SERIALIZER", name)
    tab.log_in(remember=remember)
    cookie = tab.cookie("refresh")
    assert cookie is not None
    assert (cookie["max-age"] > 29 * 86400) is remember


@pytest.mark.any_database
def test_without_rotation_the_refresh_cookie_stays(tab: Tab, both: None, settings: Any) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": False}
    tab.log_in()
    before = tab.token("refresh")
    assert tab.refresh().status_code == 200
    assert tab.cookie("refresh") is None
    assert tab.cookie("access") is not None
    assert tab.token("refresh") == before
    assert tab.refresh().status_code == 200


class OddAccess(serializers.TokenObtainPairSerializer):
    """Makes access tokens that only another service can read."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        return super().validate(attrs) | {"access": "opaque", "name": "ada"}


@pytest.mark.any_database
def test_fields_of_the_project_stay_and_a_token_of_its_own_kind_is_hidden_too(
    tab: Tab, both: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.api_settings, "TOKEN_OBTAIN_SERIALIZER", f"{__name__}.OddAccess")
    assert tab.log_in().json() == {"name": "ada"}
    cookie = tab.cookie("access")
    assert cookie is not None
    assert (cookie.value, cookie["max-age"]) == ("opaque", "")


class Bulky(serializers.TokenObtainPairSerializer):
    def get_token(self, user: Any) -> Any:
        token = super().get_token(user)
        token["bulk"] = "x" * 3000
        return token


@pytest.mark.any_database
def test_a_cookie_that_browsers_refuse_is_an_error_in_the_log(
    tab: Tab, both: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(views.api_settings, "TOKEN_OBTAIN_SERIALIZER", f"{__name__}.Bulky")
    assert tab.log_in().status_code == 200
    events = [one for one in caplog.records if getattr(one, "event", "") == "cookie_too_large"]
    assert len(events) == 2
    assert not [one for one in events if "eyJ" in one.getMessage()]


@here
@pytest.mark.any_database
def test_a_login_view_of_the_project_sets_cookies_too(tab: Tab, both: None) -> None:
    assert tab.post("/own/login/", {"code": "ada"}).json()["code"] == "csrf_failed"
    tab.post("token/refresh/")
    answer = tab.post("/own/login/", {"code": "ada"})
    assert answer.json() == {"new": 1}
    assert tab.send("get", "me/").status_code == 200
    native = APIClient(HTTP_X_TOKENS_IN="body").post("/own/login/", {"code": "ada"})
    assert set(native.json()) == {"refresh", "access", "new"}


# The path

PATHS = {
    "/api/": "/api/",
    "/text/v1/": "/text/v1/",
    "/text/a;b/": "/text/",
    "/text/a b/": "/text/",
    "/text/ü/": "/text/",
    "/two/shop/2030/": "/two/shop/2030/",
    "/named/v1/": "/named/v1/",
    "/deep/er/auth/": "/deep/er/auth/",
    "/en-us/i18n/": "/",
}


@here
@pytest.mark.any_database
@pytest.mark.parametrize("script", ["", "/app", "/a p"])
@pytest.mark.parametrize(("prefix", "expected"), PATHS.items())
def test_the_refresh_cookie_has_the_path_of_the_include(
    prefix: str, expected: str, script: str, tab: Tab, both: None
) -> None:
    tab.prefix = prefix
    tab.api.defaults["SCRIPT_NAME"] = script
    expected = "/" if " " in script else script + expected
    tab.log_in()
    assert tab.cookie("refresh")["path"] == expected  # type: ignore[index]
    assert tab.refresh().status_code == 200
    assert tab.cookie("refresh")["path"] == expected  # type: ignore[index]
    other = str(RefreshToken.for_user(sessions.of_user(_ada()).get().user)["sid"])
    assert tab.send("delete", f"sessions/{other}/").status_code == 204
    assert tab.post("logout/all/").status_code == 200
    assert tab.cookie("refresh")["path"] == expected  # type: ignore[index]
    assert tab.cookie("access")["path"] == "/"  # type: ignore[index]


def _ada() -> Any:
    from django.contrib.auth.models import User

    return User.objects.get(username="ada")


@here
@pytest.mark.any_database
@pytest.mark.parametrize(
    ("url", "expected"), [("/in/", "/"), ("/by/hand/in/", "/by/hand/"), ("/nowhere/", "/")]
)
def test_views_by_hand_share_the_path_of_their_include(url: str, expected: str) -> None:
    assert cookies.path(RequestFactory().post(url)) == expected


@pytest.mark.any_database
def test_the_path_of_a_request_with_urls_of_its_own() -> None:
    request: HttpRequest = RequestFactory().post("/deep/er/auth/token/")
    request.urlconf = "tests.test_cookies"  # type: ignore[assignment]
    assert cookies.path(request) == "/deep/er/auth/"


# Forged requests


FORGED = [
    {"HTTP_X_CSRFTOKEN": ""},
    {"HTTP_X_CSRFTOKEN": "x" * 32},
    {"HTTP_ORIGIN": "https://evil.example"},
    {"HTTP_ORIGIN": "null"},
    {"HTTP_ORIGIN": "http://testserver.evil.example"},
]
by_cookie = [
    ("post", "token/refresh/"),
    ("post", "token/blacklist/"),
    ("post", "logout/"),
    ("post", "logout/all/"),
    ("post", "logout/others/"),
    ("delete", "sessions/x/"),
    ("post", "/write/"),
    ("put", "/write/"),
    ("patch", "/write/"),
    ("delete", "/write/"),
    ("post", "/write/stateless/"),
]


@here
@pytest.mark.any_database
@pytest.mark.parametrize("forged", FORGED, ids=str)
@pytest.mark.parametrize(("method", "name"), by_cookie)
def test_no_other_site_can_send_a_request_that_a_cookie_authenticates(
    method: str, name: str, forged: dict[str, str], tab: Tab, both: None
) -> None:
    tab.log_in()
    before = tab.token("refresh"), tab.token("access")
    answer = tab.send(method, name, **forged)
    assert answer.status_code == 403
    assert set(answer.json()) == {"detail", "code"}
    assert answer.json()["code"] == "csrf_failed"
    assert not tab.cookie("refresh")
    assert not tab.cookie("access")
    assert (tab.token("refresh"), tab.token("access")) == before
    assert TokenSession.objects.count() == 1
    assert tab.send(method, name).status_code in (200, 204, 404)


@pytest.mark.any_database
@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_no_other_site_can_log_a_browser_in(
    forged: dict[str, str], tab: Tab, kinds: Any, user: AbstractUser
) -> None:
    assert tab.refresh().status_code == 400  # gets the CSRF cookie
    body = {"username": "ada", "password": PASSWORD}
    for given in (body, body | {"password": "wrong"}):
        answer = tab.post("token/", given, **forged)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
    assert not TokenSession.objects.exists()
    assert tab.post("token/", body).status_code == 200


@pytest.mark.any_database
def test_a_form_of_another_site_can_not_log_in_or_out(tab: Tab, both: None) -> None:
    tab.log_in()
    for name, form in [
        ("token/", {"username": "ada", "password": PASSWORD}),
        ("logout/", {}),
        ("logout/", {"refresh": ""}),
        ("token/refresh/", {"csrfmiddlewaretoken": "x" * 64}),
    ]:
        answer = tab.api.post(f"/api/{name}", form, HTTP_ORIGIN="https://evil.example")
        assert answer.status_code == 403
    assert TokenSession.objects.count() == 1


@pytest.mark.any_database
def test_a_form_of_the_own_site_may_carry_the_csrf_token(tab: Tab, both: None) -> None:
    tab.log_in()
    csrf = tab.api.cookies["csrftoken"].value
    assert tab.api.post("/api/logout/", {"csrfmiddlewaretoken": csrf}).status_code == 204


@pytest.mark.any_database
def test_a_refused_browser_gets_the_csrf_token_that_it_lacked(tab: Tab, kinds: Any) -> None:
    body = {"username": "ada", "password": PASSWORD}
    answer = tab.post("token/", body)
    assert answer.status_code == 403
    assert "csrftoken" in answer.cookies
    header = answer["X-Csrftoken"]
    assert tab.post("token/", body, HTTP_X_CSRFTOKEN=header).status_code == 200


@pytest.mark.any_database
def test_a_login_rotates_the_csrf_token(tab: Tab, kinds: Any) -> None:
    tab.refresh()
    before = tab.api.cookies["csrftoken"].value
    tab.log_in()
    assert tab.api.cookies["csrftoken"].value != before
    given = auth(tab)
    answer = tab.post("token/refresh/", HTTP_X_CSRFTOKEN=tab.answer["X-Csrftoken"], **given)
    assert answer.status_code == 200


@here
@pytest.mark.any_database
@pytest.mark.parametrize("url", ["/write/", "/write/stateless/"])
def test_a_page_that_a_cookie_opens_varies_by_cookies(url: str, tab: Tab, both: None) -> None:
    tab.log_in()
    answer = tab.api.get(url)
    assert answer.status_code == 200
    assert "Cookie" in answer["Vary"]


# Headers and bodies come first


@here
@pytest.mark.any_database
@pytest.mark.parametrize("url", ["/write/", "/write/stateless/"])
def test_the_header_counts_before_the_cookie_and_needs_no_csrf_token(
    url: str, tab: Tab, both: None, make_user: Callable[..., AbstractUser]
) -> None:
    tab.log_in()
    bob = make_user("bob")
    plain = APIClient(enforce_csrf_checks=True)
    plain.cookies = tab.api.cookies
    access = RefreshToken.for_user(bob).access_token
    assert str(plain.post(url, **bearer(access)).json()["user"]) == str(bob.pk)
    assert plain.post(url, **bearer("forged")).status_code == 401
    for other in ("Basic YTpi", "", "Bearer"):
        assert plain.post(url, HTTP_AUTHORIZATION=other).status_code == 401


@pytest.mark.any_database
@pytest.mark.parametrize("origin", [{}, {"HTTP_ORIGIN": "https://app.example"}], ids=str)
def test_a_client_with_the_token_in_the_body_needs_no_csrf_token_and_gets_a_body(
    origin: dict[str, str], user: AbstractUser, kinds: Any
) -> None:
    native = APIClient(enforce_csrf_checks=True, **origin)
    refresh = str(RefreshToken.for_user(user))
    answer = native.post("/api/token/refresh/", {"refresh": refresh})
    assert set(answer.json()) == {"refresh", "access"}
    assert not {"__Secure-tokens_refresh", "__Host-tokens_access"} & set(answer.cookies)
    refresh = answer.json()["refresh"]
    assert native.post("/api/token/blacklist/", {"refresh": refresh}).status_code == 200
    assert native.post("/api/logout/", {"refresh": refresh}).status_code == 204


@pytest.mark.any_database
def test_a_client_that_is_no_browser_may_ask_for_the_body(user: AbstractUser, kinds: Any) -> None:
    native = APIClient(enforce_csrf_checks=True, HTTP_X_TOKENS_IN="Body")
    answer = native.post("/api/token/", {"username": "ada", "password": PASSWORD})
    assert set(answer.json()) == {"refresh", "access"}
    assert not answer.cookies
    assert native.get("/api/me/", **bearer(answer.json()["access"])).status_code == 200
    assert native.post("/api/logout/all/", **bearer(answer.json()["access"])).status_code == 200


@pytest.mark.any_database
def test_whoever_asks_for_nothing_logs_in_by_cookies(user: AbstractUser, kinds: Any) -> None:
    """Django's test client, for one."""
    body = {"username": "ada", "password": PASSWORD}
    client = APIClient()
    answer = client.post("/api/token/", body)
    assert set(answer.json()) == {"refresh", "access"} - set(kinds)
    assert {name.rpartition("_")[2] for name in answer.cookies} >= set(kinds)
    assert client.post("/api/token/refresh/").status_code == 200
    careful = APIClient(enforce_csrf_checks=True)
    answer = careful.post("/api/token/", body)
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
    csrf = {"HTTP_X_CSRFTOKEN": answer["X-Csrftoken"]}
    assert careful.post("/api/token/", body, **csrf).status_code == 200


BROWSERS = [
    {"HTTP_ORIGIN": "http://testserver"},
    {"HTTP_SEC_FETCH_SITE": "same-origin"},
    {"HTTP_X_CSRFTOKEN": ""},
]


@pytest.mark.any_database
@pytest.mark.parametrize("sign", BROWSERS)
def test_no_page_can_ask_for_the_body(user: AbstractUser, kinds: Any, sign: dict[str, str]) -> None:
    browser = APIClient(HTTP_X_TOKENS_IN="body", **sign)
    answer = browser.post("/api/token/", {"username": "ada", "password": PASSWORD})
    assert set(answer.json()) == {"refresh", "access"} - set(kinds)
    answer = browser.post("/api/token/refresh/")
    assert "refresh" not in answer.json()


@pytest.mark.any_database
def test_sec_fetch_site_names_a_browser_too(user: AbstractUser, kinds: Any) -> None:
    browser = APIClient(enforce_csrf_checks=True, HTTP_SEC_FETCH_SITE="same-origin")
    answer = browser.post("/api/token/", {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 403


@pytest.mark.any_database
def test_a_client_with_a_csrf_token_asks_for_cookies(user: AbstractUser, kinds: Any) -> None:
    client = APIClient(enforce_csrf_checks=True)
    body = {"username": "ada", "password": PASSWORD}
    answer = client.post("/api/token/", body, HTTP_X_CSRFTOKEN="")
    assert answer.status_code == 403
    csrf = answer["X-Csrftoken"]
    answer = client.post("/api/token/", body, HTTP_X_CSRFTOKEN=csrf)
    assert answer.status_code == 200
    assert "__Secure-tokens_refresh" in answer.cookies
    assert "refresh" not in answer.json()


@pytest.mark.any_database
@pytest.mark.parametrize(
    "changes", [{"CSRF_USE_SESSIONS": True}, {"CSRF_COOKIE_HTTPONLY": True}], ids=str
)
def test_the_header_of_each_answer_is_all_that_a_client_needs(
    changes: dict[str, bool], tab: Tab, both: None, settings: Any
) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    body = {"username": "ada", "password": PASSWORD}
    statuses = []
    for name in ("token/", "token/", "token/refresh/", "logout/others/", "token/refresh/"):
        given = tab.answer["X-Csrftoken"] if tab.answer else ""
        tab.post(name, body if name == "token/" else None, HTTP_X_CSRFTOKEN=given)
        statuses.append(tab.answer.status_code)
    assert statuses == [403, 200, 200, 200, 200]


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["token/refresh/", "token/blacklist/", "logout/"])
def test_the_token_in_the_body_counts_and_the_cookie_stays(
    name: str, tab: Tab, kinds: Any, make_user: Callable[..., AbstractUser]
) -> None:
    tab.log_in()
    bob = RefreshToken.for_user(make_user("bob"))
    # A logout whose body is of no use tries the access cookie, which needs the CSRF token.
    for token, statuses in ((str(bob), (200, 204)), ("forged", (401, 403))):
        answer = tab.post(name, {"refresh": token}, HTTP_X_CSRFTOKEN="")
        assert answer.status_code in statuses
        assert not tab.cookie("refresh")
        assert not tab.cookie("access")
        if name == "token/refresh/" and answer.status_code == 200:
            assert cookies.signed_token(answer.json()["refresh"])["sid"] == bob["sid"]
    assert tab.refresh().status_code == 200


TRICKS: dict[str, tuple[Any, dict[str, str]]] = {
    "no body": (None, {}),
    "nothing": ({}, {}),
    "an empty token": ({"refresh": ""}, {}),
    "null": ({"refresh": None}, {}),
    "false": ({"refresh": False}, {}),
    "another field": ({"cookies": False, "access": "x"}, {}),
    "a list": (["refresh"], {}),
    "no origin": (None, {"HTTP_ORIGIN": ""}),
    "an odd origin": (None, {"HTTP_ORIGIN": "null"}),
    "another method": (None, {"HTTP_X_HTTP_METHOD_OVERRIDE": "GET"}),
    "a header": (None, {"HTTP_AUTHORIZATION": "Bearer x"}),
    "a format": (None, {"HTTP_ACCEPT": "application/json; indent=4"}),
}


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["token/refresh/", "token/blacklist/", "token/verify/", "logout/"])
@pytest.mark.parametrize(("body", "headers"), TRICKS.values(), ids=TRICKS)
def test_a_script_of_the_page_can_not_make_an_endpoint_tell_the_refresh_token(
    body: Any, headers: dict[str, str], name: str, tab: Tab, kinds: Any
) -> None:
    tab.log_in()
    before = tab.token("refresh")
    answer = tab.post(name, body, **headers)
    for refresh in {before, tab.token("refresh")} - {""}:
        assert refresh not in answer.text
        assert refresh.rpartition(".")[2] not in answer.text
    assert b"refresh" not in answer.content or answer.status_code in (400, 401, 403)
    seen = {key: value for key, value in answer.headers.items() if key != "Set-Cookie"}
    assert before not in str(seen)
    if isinstance(answer.data, dict):
        assert len(str(answer.data.get("refresh", ""))) < 100


@pytest.mark.any_database
def test_options_neither_use_nor_end_cookies(tab: Tab, kinds: Any) -> None:
    tab.log_in()
    for name in ("token/", "token/refresh/", "token/blacklist/", "logout/"):
        assert tab.send("options", name, HTTP_X_CSRFTOKEN="").status_code == 200
        assert not tab.cookie("refresh")
        assert not tab.cookie("access")
    assert tab.refresh().status_code == 200


# Tabs, thieves and outages


def test_two_tabs_refresh_at_the_same_time(tab: Tab, kinds: Any) -> None:
    tab.log_in()
    other = Tab()
    other.api.cookies.load(tab.api.cookies)
    tab.refresh()
    other.refresh()
    assert other.token("refresh") == tab.token("refresh")
    assert attributes(other.cookie("refresh")) == attributes(tab.cookie("refresh"))
    assert TokenSession.objects.count() == 1
    assert other.refresh().status_code == 200


@pytest.mark.any_database
def test_reuse_ends_the_session_and_deletes_the_cookies(
    tab: Tab, kinds: Any, settings: Any, atomic_requests: None
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    tab.log_in()
    made = {kind: attributes(tab.cookie(kind)) for kind in kinds}
    thief = Tab()
    thief.api.cookies.load(tab.api.cookies)
    assert thief.refresh().status_code == 200
    assert tab.refresh().status_code == 401
    assert tab.deleted() == set(kinds)
    assert {kind: attributes(tab.cookie(kind)) for kind in kinds} == made
    assert BlacklistEntry.objects.get().reason == "reuse"
    assert thief.refresh().status_code == 401
    assert thief.deleted() == set(kinds)


REFUSED: dict[str, Callable[[Tab], Any]] = {
    "forged": lambda tab: _replace(tab, sign(RefreshToken().payload, key="another key" * 9)),
    "garbage": lambda tab: _replace(tab, "garbage"),
    "access": lambda tab: _replace(tab, str(AccessToken.for_user(_ada()))),
    "expired": lambda tab: _replace(
        tab,
        sign(
            cookies.signed_token(tab.token("refresh")).payload
            | {"exp": clock.to_epoch(clock.now()) - 99}
        ),
    ),
    "ended": lambda tab: sessions.end_all(_ada()),
    "inactive": lambda tab: _ada().__class__.objects.update(is_active=False),
    "deleted": lambda tab: _ada().delete(),
    "another password": lambda tab: _ada().__class__.objects.update(password="x"),
}


def _replace(tab: Tab, token: str) -> None:
    tab.api.cookies[cookies.name("refresh")] = token


@pytest.mark.any_database
@pytest.mark.parametrize("reason", REFUSED)
def test_a_refresh_that_is_refused_deletes_the_cookies(reason: str, tab: Tab, kinds: Any) -> None:
    tab.log_in()
    REFUSED[reason](tab)
    answer = tab.refresh()
    told = set() if reason in ("forged", "garbage") else {"reason"}
    assert (answer.status_code, set(answer.json())) == (401, {"detail", "code"} | told)
    assert tab.deleted() == set(kinds)


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["token/refresh/", "token/blacklist/", "logout/"])
def test_an_outage_deletes_no_cookie(
    name: str, tab: Tab, kinds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise DatabaseError

    tab.log_in()
    with monkeypatch.context() as patch:
        patch.setattr("tokens.jwt.RefreshToken.use", fail)
        patch.setattr("tokens.jwt.RefreshToken.blacklist", fail)
        patch.setattr("tokens.sessions.end", fail)
        assert tab.post(name).status_code == 503
    assert not tab.cookie("refresh")
    assert not tab.cookie("access")
    assert tab.refresh().status_code == 200


class Closed(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        return False


@pytest.mark.any_database
def test_too_many_requests_delete_no_cookie(
    tab: Tab, kinds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab.log_in()
    monkeypatch.setattr(views.TokenView, "throttle_classes", [Closed])
    for name in ("token/refresh/", "token/blacklist/", "logout/"):
        assert tab.post(name).status_code == 429
        assert not tab.deleted()


@pytest.mark.any_database
def test_a_wrong_password_deletes_no_cookie(tab: Tab, kinds: Any) -> None:
    tab.log_in()
    answer = tab.post("token/", {"username": "ada", "password": "wrong"})
    assert answer.status_code == 401
    assert not tab.cookie("refresh")
    assert tab.refresh().status_code == 200


# Logging out


def others(tab: Tab) -> list[str]:
    current = cookies.signed_token(tab.token("refresh"))["sid"]
    return [str(one.sid) for one in TokenSession.objects.all() if str(one.sid) != current]


ENDS: dict[str, Callable[[Tab, dict[str, Any]], Any]] = {
    "here": lambda tab, header: tab.post("logout/"),
    "here by header": lambda tab, header: tab.post("logout/", **header),
    "here by body": lambda tab, header: tab.post("logout/", {"refresh": tab.token("refresh")}),
    "here, body unreadable": lambda tab, header: tab.api.post(
        "/api/logout/",
        b"{",
        content_type="application/json",
        HTTP_X_CSRFTOKEN=tab.api.cookies["csrftoken"].value,
    ),
    "blacklist": lambda tab, header: tab.post("token/blacklist/"),
    "all": lambda tab, header: tab.post("logout/all/", **header),
    "this session": lambda tab, header: tab.send(
        "delete", f"sessions/{cookies.signed_token(tab.token('refresh'))['sid']}/", **header
    ),
}
STAYS: dict[str, Callable[[Tab, dict[str, Any]], Any]] = {
    "others": lambda tab, header: tab.post("logout/others/", **header),
    "another session": lambda tab, header: tab.send(
        "delete", f"sessions/{others(tab)[0]}/", **header
    ),
    "no such session": lambda tab, header: tab.send("delete", "sessions/x/", **header),
}


@pytest.mark.any_database
@pytest.mark.parametrize("how", ENDS)
def test_logging_out_deletes_the_cookies(
    how: str, tab: Tab, kinds: Any, atomic_requests: None
) -> None:
    tab.log_in()
    header = auth(tab)
    made = {kind: attributes(tab.cookie(kind)) for kind in kinds}
    tab.answer = ENDS[how](tab, header)
    assert tab.answer.status_code in (200, 204)
    assert tab.deleted() == set(kinds)
    assert {kind: attributes(tab.cookie(kind)) for kind in kinds} == made
    assert not TokenSession.objects.exists()
    assert tab.refresh().status_code == 400


@pytest.mark.any_database
@pytest.mark.parametrize("how", STAYS)
def test_ending_other_sessions_keeps_the_cookies(
    how: str, tab: Tab, kinds: Any, user: AbstractUser
) -> None:
    tab.log_in()
    header = auth(tab)
    RefreshToken.for_user(user)
    assert STAYS[how](tab, header).status_code in (200, 204, 404)
    assert not tab.cookie("refresh")
    assert not tab.cookie("access")
    assert tab.refresh().status_code == 200


@pytest.mark.any_database
def test_no_other_site_can_delete_cookies_by_logging_somebody_else_out(
    tab: Tab, kinds: Any, make_user: Callable[..., AbstractUser]
) -> None:
    tab.log_in()
    evil = RefreshToken.for_user(make_user("evil"))
    for name in ("logout/", "token/blacklist/"):
        form = {"refresh": str(evil)}
        answer = tab.api.post(f"/api/{name}", form, HTTP_ORIGIN="https://evil.example")
        assert answer.status_code in (200, 204)
        assert not {one for one in answer.cookies if "tokens_" in one}
    assert tab.refresh().status_code == 200


@pytest.mark.any_database
@pytest.mark.parametrize("how", ["here by header", "all"])
def test_a_native_client_that_logs_out_gets_no_cookie(
    how: str, user: AbstractUser, kinds: Any
) -> None:
    refresh = RefreshToken.for_user(user)
    answer = ENDS[how](Tab(), bearer(refresh.access_token))
    assert answer.status_code in (200, 204)
    assert not {one for one in answer.cookies if "tokens_" in one}


@pytest.mark.any_database
def test_a_refresh_cookie_that_is_of_no_use_does_not_hinder_the_access_cookie(
    tab: Tab, both: None
) -> None:
    tab.log_in()
    _replace(tab, "garbage")
    assert tab.post("logout/").status_code == 204
    assert tab.deleted() == set(BOTH)
    assert not TokenSession.objects.exists()


@pytest.mark.any_database
def test_cookies_of_no_use_are_deleted_when_logging_out(tab: Tab, both: None) -> None:
    tab.log_in()
    for kind in BOTH:
        tab.api.cookies[cookies.name(kind)] = "garbage"
    assert tab.post("logout/").status_code == 401
    assert tab.deleted() == set(BOTH)


@pytest.mark.any_database
def test_without_any_token_logging_out_says_so(tab: Tab, kinds: Any) -> None:
    answer = tab.post("logout/")
    assert (answer.status_code, answer.json()["code"]) == (400, "token_required")


@pytest.mark.any_database
def test_a_login_ends_the_session_whose_cookie_it_replaces(
    tab: Tab, kinds: Any, make_user: Callable[..., AbstractUser], atomic_requests: None
) -> None:
    make_user("bob")
    tab.log_in()
    before = cookies.signed_token(tab.token("refresh"))["sid"]
    assert tab.post("token/", {"username": "bob", "password": "wrong"}).status_code == 401
    assert TokenSession.objects.filter(sid=before).exists()
    assert tab.log_in("bob").status_code == 200
    assert not TokenSession.objects.filter(sid=before).exists()
    assert TokenSession.objects.get().user.username == "bob"
    assert tab.refresh().status_code == 200
    native = APIClient(HTTP_X_TOKENS_IN="body")
    native.cookies = tab.api.cookies
    native.post("/api/token/", {"username": "ada", "password": PASSWORD})
    assert TokenSession.objects.count() == 2


@pytest.mark.any_database
@pytest.mark.parametrize("cookie", ["garbage", "good"])
def test_a_login_succeeds_whatever_the_cookie_before_it_was(
    cookie: str, tab: Tab, kinds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise DatabaseError

    tab.log_in()
    if cookie == "garbage":
        _replace(tab, "garbage")
    else:
        monkeypatch.setattr("tokens.sessions.end", fail)
    assert tab.log_in().status_code == 200
    assert tab.refresh().status_code == 200


# Other views


@here
@pytest.mark.any_database
@pytest.mark.parametrize("is_patched", [True, False])
def test_simplejwts_own_views_keep_their_tokens_in_bodies(
    is_patched: bool, tab: Tab, both: None, settings: Any
) -> None:
    settings.TOKENS_PATCH_SIMPLEJWT = is_patched
    tab.prefix = "/plain/"
    answer = tab.post("token/", {"username": "ada", "password": PASSWORD})
    assert set(answer.json()) == {"refresh", "access"}
    assert not answer.cookies
    answer = tab.post("token/refresh/", {"refresh": answer.json()["refresh"]})
    assert set(answer.json()) == {"refresh", "access"}
    assert tab.post("logout/", {"refresh": answer.json()["refresh"]}).status_code == 200
    tab.prefix = "/api/"
    tab.log_in()
    tab.prefix = "/plain/"
    assert tab.post("token/refresh/").status_code == 400  # and knows no cookie


def without_tokens(tab: Tab) -> Tab:
    for kind in BOTH:
        del tab.api.cookies[cookies.name(kind)]
    return tab


@pytest.mark.parametrize(
    ("budget", "send"),
    [
        (2, lambda tab: Tab.log_in(without_tokens(tab))),
        (2, lambda tab: tab.refresh()),
        (3, lambda tab: tab.post("logout/")),
        (3, lambda tab: tab.post("token/blacklist/")),
        (1, lambda tab: tab.send("get", "me/")),
    ],
    ids=["login", "refresh", "logout", "blacklist", "request"],
)
def test_cookies_take_no_statement(
    budget: int,
    send: Callable[[Tab], Any],
    tab: Tab,
    both: None,
    statements: Callable[[], Any],
) -> None:
    tab.log_in()
    with statements() as found:
        assert send(tab).status_code in (200, 204)
    assert len(found) == budget, found
