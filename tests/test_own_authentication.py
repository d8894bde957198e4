"""The project's own authentication opens our endpoints, and closes them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.settings import api_settings as rest_framework
from rest_framework.test import APIClient

from tokens import clock
from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.api.views import SessionListView
from tokens.jwt import AccessToken
from tokens.models import TokenSession

from .conftest import Login, bearer
from .forge import sign
from .including import LOGOUTS, shape
from .including import ada as ada
from .including import no_rates as no_rates

pytestmark = pytest.mark.django_db(transaction=True)


class Cookies(JWTAuthentication):
    """The usual class for cookies: the header, or else a cookie, and a check against forgeries."""

    def authenticate(self, request: Any) -> Any:
        header = self.get_header(request)
        raw = self.get_raw_token(header) if header else request.COOKIES.get("access", "").encode()
        if not raw:
            return None
        token = self.get_validated_token(raw)
        if header is None and "HTTP_X_CSRF" not in request.META:
            raise PermissionDenied("CSRF")
        return self.get_user(token), token


class CookieAsHeader(JWTAuthentication):
    def get_header(self, request: Any) -> bytes:
        return b"Bearer " + request.COOKIES["access"].encode() if request.COOKIES else b""


class RawCookie(JWTAuthentication):
    request: Any = None

    def get_header(self, request: Any) -> bytes:
        self.request = request
        return b"x"

    def get_raw_token(self, header: bytes) -> bytes | None:
        return self.request.COOKIES.get("access", "").encode() or None


class ByItself(JWTAuthentication):
    """Makes the token by itself."""

    def authenticate(self, request: Any) -> Any:
        if not request.COOKIES:
            return None
        token = AccessToken(request.COOKIES["access"])
        return self.get_user(token), token


class NotBanned(JWTAuthentication):
    def get_user(self, validated_token: Any) -> Any:
        user = super().get_user(validated_token)
        if user.username == "ada":
            raise AuthenticationFailed("banned")
        return user


class LooksAtUser(JWTAuthentication):
    def authenticate(self, request: Any) -> Any:
        found = super().authenticate(request)
        if found and found[0].first_name == "banned":
            raise AuthenticationFailed("banned")
        return found


class Stateless(JWTStatelessUserAuthentication):
    pass


class Other(JWTAuthentication):
    """Finds nothing, ever."""

    def get_header(self, request: Any) -> Any:
        return None


@pytest.fixture
def authenticated_by(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(*classes: type) -> None:
        monkeypatch.setattr(rest_framework, "DEFAULT_AUTHENTICATION_CLASSES", list(classes))

    return use


@pytest.mark.any_database
@pytest.mark.parametrize("kind", [Cookies, CookieAsHeader, RawCookie, ByItself])
def test_cookies_of_the_project_open_the_endpoints(
    user: AbstractUser, ada: Login, authenticated_by: Callable[..., None], kind: type
) -> None:
    authenticated_by(Stateless, Other, kind)
    other = Login(user)
    browser = APIClient(HTTP_X_CSRF="1")
    assert browser.post("/api/logout/").status_code in (400, 401)
    browser.cookies["access"] = ada.access
    assert browser.get("/api/sessions/").json()["count"] == 2
    assert browser.post("/api/logout/others/").json() == {"sessions_ended": 1}
    assert other.me().status_code == 401
    assert browser.post("/api/logout/", {"refresh": ""}).status_code == 204
    if kind is not ByItself:  # whose own check is stricter than logging out
        assert browser.get("/api/sessions/").status_code == 401
        assert browser.post("/api/logout/").status_code == 204
    assert not TokenSession.objects.exists()


@pytest.mark.any_database
def test_what_a_class_of_the_project_demands_is_demanded_to_log_out(
    ada: Login, authenticated_by: Callable[..., None]
) -> None:
    authenticated_by(Cookies)
    browser = APIClient()
    browser.cookies["access"] = ada.access
    for path_ in ("/api/logout/", "/api/logout/all/"):
        answer = browser.post(path_)  # from another site
        assert (answer.status_code, shape(answer)) == (403, {"detail", "code"})
    assert TokenSession.objects.count() == 1
    assert browser.post("/api/logout/", **bearer(ada.access)).status_code == 204


@pytest.mark.any_database
def test_an_expired_cookie_logs_out(ada: Login, authenticated_by: Callable[..., None]) -> None:
    authenticated_by(Cookies)
    browser = APIClient(HTTP_X_CSRF="1")
    payload = AccessToken(ada.access).payload | {"exp": clock.to_epoch(clock.now()) - 9}
    browser.cookies["access"] = sign(payload)
    assert browser.post("/api/logout/").status_code == 204
    assert ada.refresh().status_code == 401


@pytest.mark.any_database
def test_a_class_that_refuses_more_is_asked(
    ada: Login, make_user: Callable[..., AbstractUser], authenticated_by: Callable[..., None]
) -> None:
    authenticated_by(NotBanned)
    for method, name in [("get", "sessions/"), *LOGOUTS[2:]]:
        answer = getattr(ada.api, method)(f"/api/{name}", **bearer(ada.access))
        assert answer.status_code == 401
    assert TokenSession.objects.count() == 1
    bob = Login(make_user("bob"))
    assert bob.api.get("/api/sessions/", **bearer(bob.access)).status_code == 200
    assert ada.api.post("/api/logout/", **bearer(ada.access)).status_code == 204  # may leave


@pytest.mark.any_database
def test_a_class_that_looks_at_the_user_may(
    ada: Login, authenticated_by: Callable[..., None]
) -> None:
    authenticated_by(LooksAtUser)
    assert ada.api.get("/api/sessions/", **bearer(ada.access)).status_code == 200
    assert ada.api.post("/api/logout/", **bearer(ada.access)).status_code == 204
    assert not TokenSession.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("classes", [[], [Stateless], [JWTStatelessUserAuthentication]])
def test_without_a_class_of_the_project_ours_opens_the_endpoints(
    ada: Login, authenticated_by: Callable[..., None], classes: list[type]
) -> None:
    authenticated_by(*classes)
    assert ada.api.get("/api/sessions/", **bearer(ada.access)).json()["count"] == 1
    assert ada.api.post("/api/logout/", **bearer(ada.access)).status_code == 204


class ForBob(SessionListView):
    authentication_classes = (NotBanned,)  # type: ignore[assignment]


@pytest.mark.any_database
def test_a_view_of_the_project_may_name_its_classes() -> None:
    (only,) = ForBob().get_authenticators()
    assert type(only) is NotBanned
