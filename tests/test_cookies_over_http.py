"""Cookies over real HTTP: a client that keeps them as browsers do, with paths, ends and all."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import AbstractUser

from tokens.models import TokenSession

from .conftest import PASSWORD
from .processes import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


class Browser:
    """A client with a cookie jar, which obeys paths and ends of cookies."""

    def __init__(self, url: str) -> None:
        # Without TLS. Otherwise httpx reads all of the system's certificates each time.
        headers = {"Origin": url, "Connection": "close"}  # or each answer waits for an ACK
        self.http = httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, verify=False)  # noqa: S501

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.http.post(path, headers={"X-CSRFToken": self.csrf()}, **given)

    def csrf(self) -> str:
        return self.http.cookies.get("csrftoken", "")

    def log_in(self) -> httpx.Response:
        body = {"username": "ada", "password": PASSWORD}
        assert self.post("/api/token/", json=body).status_code == 403
        return self.post("/api/token/", json=body)

    def kept(self) -> dict[str, str]:
        """Return the paths of the cookies with tokens, by name."""
        return {one.name: one.path for one in self.http.cookies.jar if "tokens_" in one.name}


@pytest.fixture
def open_browser(
    live_server: Any, settings: Any, user: AbstractUser
) -> Iterator[Callable[[], Browser]]:
    """Over plain HTTP, as a developer has it."""
    settings.TOKENS_COOKIES = ("refresh", "access")
    settings.TOKENS_COOKIE_SECURE = False
    there: list[Browser] = []

    def start() -> Browser:
        there.append(Browser(live_server.url))
        return there[-1]

    yield start
    for browser in there:
        browser.http.close()


@pytest.mark.any_database
def test_a_day_of_a_browser(open_browser: Callable[[], Browser], atomic_requests: None) -> None:
    browser = open_browser()
    answer = browser.log_in()
    assert (answer.status_code, answer.json()) == (200, {})
    assert browser.kept() == {"tokens_refresh": "/api/", "tokens_access": "/"}
    assert answer.headers["Cache-Control"].endswith("no-store, must-revalidate, private")
    me = browser.http.get("/api/me/")
    assert me.status_code == 200
    assert "tokens_refresh" in me.request.headers["Cookie"]  # it is below the same prefix
    home = browser.http.get("/")
    assert "tokens_refresh" not in home.request.headers["Cookie"]
    assert "tokens_access" in home.request.headers["Cookie"]
    for _ in range(3):
        assert browser.post("/api/token/refresh/").status_code == 200
        assert browser.http.get("/api/me/").status_code == 200
    assert TokenSession.objects.count() == 1
    phone = open_browser()
    assert phone.log_in().status_code == 200
    assert browser.http.get("/api/sessions/").json()["count"] == 2
    assert browser.post("/api/logout/others/").json() == {"sessions_ended": 1}
    assert phone.http.get("/api/me/").status_code == 401
    assert phone.post("/api/token/refresh/").status_code == 401
    assert phone.kept() == {}
    assert browser.post("/api/logout/").status_code == 204
    assert browser.kept() == {}
    assert browser.http.get("/api/me/").status_code == 401
    assert browser.post("/api/token/refresh/").status_code == 400
    assert not TokenSession.objects.exists()


@pytest.mark.any_database
def test_a_phone_beside_it_knows_nothing_of_cookies(
    open_browser: Callable[[], Browser], live_server: Any
) -> None:
    browser = open_browser()
    browser.log_in()
    with httpx.Client(base_url=live_server.url, timeout=PATIENCE, verify=False) as phone:  # noqa: S501
        body = {"username": "ada", "password": PASSWORD}
        asking = {"X-Tokens-In": "body"}
        tokens = phone.post("/api/token/", json=body, headers=asking).json()
        assert set(tokens) == {"refresh", "access"}
        tokens = phone.post("/api/token/refresh/", json={"refresh": tokens["refresh"]}).json()
        header = {"Authorization": f"Bearer {tokens['access']}"}
        assert phone.get("/api/sessions/", headers=header).json()["count"] == 2
        assert phone.post("/api/logout/all/", headers=header).json() == {"sessions_ended": 2}
        assert not list(phone.cookies.jar)
    assert browser.http.get("/api/me/").status_code == 401


@pytest.mark.any_database
def test_a_form_of_another_site_changes_nothing(open_browser: Callable[[], Browser]) -> None:
    browser = open_browser()
    browser.log_in()
    evil = {"Origin": "https://evil.example"}
    for path in ("/api/logout/", "/api/logout/all/", "/api/token/refresh/", "/api/token/"):
        body = {"username": "ada", "password": PASSWORD}
        assert browser.http.post(path, data=body, headers=evil).status_code == 403
    assert len(browser.kept()) == 2
    assert browser.http.get("/api/me/").status_code == 200
    assert TokenSession.objects.count() == 1
