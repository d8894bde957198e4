"""Logged in by cookies, in a real Chromium, with the client of the documentation.

``localhost`` and ``127.0.0.1`` are two sites; two ports of ``localhost`` are two origins of one.
"""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page

from tokens import sessions
from tokens.api.views import TokenRefreshView
from tokens.jwt import RefreshToken
from tokens.models import BlacklistEntry, TokenSession

from .chromium import PASSWORD
from .pages import PAGE, client, other_origin
from .world import make_user

BOTH = ("refresh", "access")


class Visitor:
    """Somebody in front of a page that has the client of the documentation as ``session``."""

    def __init__(self, context: BrowserContext, url: str, page: Page | None = None) -> None:
        self.context, self.url = context, url
        self.page = page or context.new_page()
        self.requests: list[str] = []
        self.page.on("request", lambda one: self.requests.append(f"{one.method} {one.url}"))
        self.load()

    def load(self) -> None:
        answer = self.page.goto(self.url)
        assert answer is not None
        assert answer.ok
        self.run("window.session = await import('./session.js')")

    def run(self, code: str, **given: Any) -> Any:
        return self.page.evaluate(f"async (given) => {{ {code} }}", given)

    def log_in(self, password: str = PASSWORD) -> bool:
        code = "return session.login('ada', given.password)"
        return bool(self.run(code, password=password))

    def status(self, path: str = "me/", method: str = "GET") -> int:
        code = "return (await session.request(given.path, {method: given.method})).status"
        return int(self.run(code, path=path, method=method))

    def refresh(self) -> bool:
        return bool(self.run("return session.refresh()"))

    def log_out(self) -> None:
        self.run("await session.logout()")

    def sent(self, name: str) -> int:
        return sum(f"/{name}" in one for one in self.requests)

    def cookies(self) -> dict[str, Any]:
        """Return the cookies with tokens, by kind, as only the browser itself sees them."""
        found = {one["name"].rpartition("_")[2]: one for one in self.context.cookies()}
        return {kind: one for kind, one in found.items() if "tokens_" in one["name"]}


@pytest.fixture
def ada(transactional_db: None) -> User:
    return make_user("ada")


@pytest.fixture(params=[("refresh",), BOTH], ids=["refresh", "both"])
def kinds(request: pytest.FixtureRequest, settings: Any) -> Any:
    settings.TOKENS_COOKIES = request.param
    return request.param


@pytest.fixture
def both(settings: Any) -> None:
    settings.TOKENS_COOKIES = BOTH


@pytest.fixture
def open_browser(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    contexts: list[BrowserContext] = []

    def start() -> BrowserContext:
        contexts.append(browser.new_context())
        return contexts[-1]

    yield start
    for context in contexts:
        context.close()


@pytest.fixture
def visitor(open_browser: Callable[[], BrowserContext], live_server: Any, ada: User) -> Visitor:
    return Visitor(open_browser(), f"{live_server.url}/app/")


def test_log_in_reload_refresh_and_log_out(visitor: Visitor, kinds: Any) -> None:
    assert not visitor.refresh()
    assert visitor.status() == 401
    assert not visitor.log_in("wrong")
    assert visitor.log_in()
    assert visitor.status() == 200
    assert set(visitor.cookies()) == set(kinds)
    for kind, cookie in visitor.cookies().items():
        assert cookie["httpOnly"]
        assert cookie["secure"]
        assert cookie["sameSite"] == "Lax"
        assert cookie["path"] == {"refresh": "/api/", "access": "/"}[kind]
        prefix = {"refresh": "__Secure-", "access": "__Host-"}[kind]
        assert cookie["name"] == f"{prefix}tokens_{kind}"
    before = visitor.cookies()["refresh"]["value"]
    visitor.load()
    assert visitor.refresh()
    assert visitor.status() == 200
    assert visitor.cookies()["refresh"]["value"] != before
    assert TokenSession.objects.count() == 1
    visitor.log_out()
    assert visitor.cookies() == {}
    assert visitor.status() == 401
    assert BlacklistEntry.objects.get().reason == "logout"
    visitor.load()
    assert not visitor.refresh()


def test_plain_http_of_any_host_works_while_debugging(
    visitor: Visitor, kinds: Any, settings: Any
) -> None:
    settings.TOKENS_COOKIE_SECURE = False
    assert visitor.log_in()
    assert {one["name"] for one in visitor.cookies().values()} == {f"tokens_{k}" for k in kinds}
    assert not any(one["secure"] for one in visitor.cookies().values())
    visitor.load()
    assert visitor.refresh()
    assert visitor.status() == 200
    visitor.log_out()
    assert visitor.cookies() == {}


def test_many_requests_share_one_refresh(visitor: Visitor, kinds: Any) -> None:
    assert visitor.log_in()
    sessions_before = TokenSession.objects.count()
    visitor.load()  # its variable is empty
    if "access" in kinds:
        visitor.context.clear_cookies(name="__Host-tokens_access")  # as if it had expired
    visitor.requests.clear()
    code = """
        const answers = Array.from({length: 8}, () => session.request("me/"));
        return (await Promise.all(answers)).map((answer) => answer.status);
    """
    assert visitor.run(code) == [200] * 8
    assert visitor.sent("api/token/refresh/") == 1
    assert visitor.sent("api/me/") == 16
    assert TokenSession.objects.count() == sessions_before


def test_two_tabs_refresh_at_the_same_time_and_stay_logged_in(visitor: Visitor, kinds: Any) -> None:
    assert visitor.log_in()
    other = Visitor(visitor.context, visitor.url)
    code = """
        return Promise.all([1, 2, 3].map(() => fetch("/api/token/refresh/", {
            method: "POST", headers: {"X-CSRFToken": document.cookie.split("csrftoken=")[1]},
        }).then((answer) => answer.status)));
    """
    assert visitor.run(code) == [200] * 3  # without the client, which would send only one
    assert other.refresh()
    assert visitor.refresh()
    assert visitor.status() == other.status() == 200
    assert TokenSession.objects.count() == 1


def test_a_page_that_is_left_during_a_refresh_keeps_its_cookies(
    visitor: Visitor, both: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the used token would be sent again later, which looks like a theft."""
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    assert visitor.log_in()
    before = visitor.cookies()["refresh"]["value"]
    arrived, left, answered = Event(), Event(), Event()
    use, finalize = RefreshToken.use, TokenRefreshView.finalize_response

    def wait(*args: Any, **kwargs: Any) -> Any:
        arrived.set()
        assert left.wait(30)
        return use(*args, **kwargs)

    def note(*args: Any, **kwargs: Any) -> Any:
        answered.set()
        return finalize(*args, **kwargs)

    monkeypatch.setattr(RefreshToken, "use", wait)
    monkeypatch.setattr(TokenRefreshView, "finalize_response", note)
    visitor.page.evaluate("void session.refresh()")
    assert arrived.wait(30)
    visitor.page.close()
    again = Visitor(visitor.context, visitor.url)  # by then the first page is gone for sure
    left.set()
    assert answered.wait(30)
    monkeypatch.undo()
    for _ in range(100):
        if again.cookies()["refresh"]["value"] != before:
            break
        again.page.wait_for_timeout(100)
    assert again.refresh()
    assert not BlacklistEntry.objects.exists()


def test_another_tab_logs_in_and_the_first_goes_on(visitor: Visitor, both: None) -> None:
    """Logging in rotates the CSRF token that the first tab remembers."""
    assert visitor.log_in()
    other = Visitor(visitor.context, visitor.url)
    other.log_out()
    assert other.log_in()
    assert visitor.status("logout/others/", "POST") == 200
    assert visitor.refresh()


def test_a_session_that_was_ended_elsewhere_takes_its_cookies_with_it(
    visitor: Visitor, kinds: Any, ada: User
) -> None:
    assert visitor.log_in()
    sessions.end_all(ada)
    assert visitor.status() == 401
    assert visitor.cookies() == {}


LOGOUTS = [("logout/all/", "POST"), ("sessions/{sid}/", "DELETE"), ("token/blacklist/", "POST")]


@pytest.mark.parametrize(("path", "method"), LOGOUTS)
def test_each_way_out_deletes_the_cookies(
    path: str, method: str, visitor: Visitor, kinds: Any
) -> None:
    assert visitor.log_in()
    path = path.format(sid=TokenSession.objects.get().sid)
    assert visitor.status(path, method) in (200, 204)
    assert visitor.cookies() == {}
    assert not TokenSession.objects.exists()


# Scripts of the page

STEAL = """
    const seen = [document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)];
    const csrf = document.cookie.split("csrftoken=")[1];
    const bodies = [undefined, "", "{}", '{"refresh": ""}', '{"refresh": null}', '["refresh"]'];
    const forged = {Origin: "", "Sec-Fetch-Site": ""};
    for (const path of ["token/refresh/", "token/verify/", "sessions/", "me/"]) {
        for (const body of bodies) {
            for (const more of [{}, forged, {"Content-Type": "text/plain"}]) {
                const answer = await fetch("/api/" + path, {
                    method: path.includes("token") ? "POST" : "GET",
                    body: path.includes("token") ? body : undefined,
                    headers: {"Content-Type": "application/json", "X-CSRFToken": csrf, ...more},
                });
                seen.push(await answer.text(), JSON.stringify([...answer.headers]));
            }
        }
    }
    seen.push(JSON.stringify(Object.entries(session)));
    return seen.join(" ");
"""


def test_no_script_of_the_page_reads_a_token(visitor: Visitor, kinds: Any) -> None:
    assert visitor.log_in()
    values = {one["value"] for one in visitor.cookies().values()}
    seen = visitor.run(STEAL)
    values |= {one["value"] for one in visitor.cookies().values()}
    assert len(values) == 2 * len(kinds)  # it could use them, and nothing else
    assert not [one for one in values if one in seen or one.rpartition(".")[2] in seen]
    assert ("eyJ" in seen) is (kinds == ("refresh",))  # an access token is in the body then
    assert visitor.refresh()


# Another site

FORM = """<!doctype html><form method="post" action="{url}">{fields}</form>
<script>document.forms[0].submit()</script>"""
FETCH = """
    const found = [];
    for (const [method, url] of given.targets) {
        try {
            const answer = await fetch(url, {method, credentials: "include", mode: given.mode});
            found.push(answer.type === "opaque" ? "opaque" : await answer.text());
        } catch (error) {
            found.push(error.name);
        }
    }
    return found;
"""


def form(url: str, **fields: str) -> str:
    inputs = "".join(f'<input name="{name}" value="{one}">' for name, one in fields.items())
    return FORM.format(url=url, fields=inputs)


@pytest.mark.parametrize("samesite", ["Lax", "None"])
@pytest.mark.parametrize("name", ["logout/", "logout/all/", "token/refresh/", "token/blacklist/"])
def test_a_form_of_another_site_does_nothing(
    name: str, samesite: str, visitor: Visitor, both: None, settings: Any, live_server: Any
) -> None:
    settings.TOKENS_COOKIE_SAMESITE = samesite
    assert visitor.log_in()
    before = visitor.cookies()
    with other_origin("127.0.0.1", {"/": form(f"{live_server.url}/api/{name}")}) as evil:
        page = visitor.context.new_page()
        with page.expect_response(f"{live_server.url}/api/{name}") as answered:
            page.goto(evil)
        sent = answered.value.request.all_headers().get("cookie", "")
        # With Lax the browser keeps the cookies back. With None, Django's check is what is left.
        assert ("tokens_refresh" in sent) is (samesite == "None")
        assert answered.value.status in ({403} if samesite == "None" else {400, 401})
    assert visitor.cookies() == before
    assert visitor.status() == 200
    assert TokenSession.objects.count() == 1


def test_a_form_of_another_site_logs_nobody_in(
    visitor: Visitor, both: None, live_server: Any
) -> None:
    make_user("evil")
    assert not visitor.refresh()  # so there is a CSRF cookie
    fields = {"username": "evil", "password": PASSWORD}
    with other_origin("127.0.0.1", {"/": form(f"{live_server.url}/api/token/", **fields)}) as evil:
        page = visitor.context.new_page()
        with page.expect_response(f"{live_server.url}/api/token/") as answered:
            page.goto(evil)
        assert answered.value.status == 403
    assert visitor.cookies() == {}
    assert not TokenSession.objects.exists()


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_script_of_another_site_reads_and_does_nothing(
    mode: str, visitor: Visitor, both: None, settings: Any, live_server: Any
) -> None:
    settings.TOKENS_COOKIE_SAMESITE = "None"
    assert visitor.log_in()
    targets = [
        ["POST", f"{live_server.url}/api/logout/"],
        ["POST", f"{live_server.url}/api/logout/all/"],
        ["POST", f"{live_server.url}/api/token/refresh/"],
        ["GET", f"{live_server.url}/api/sessions/"],
    ]
    with other_origin("127.0.0.1", {"/": PAGE}) as evil:
        page = visitor.context.new_page()
        page.goto(evil)
        code = f"async (given) => {{ {FETCH} }}"
        found = page.evaluate(code, {"targets": targets, "mode": mode})
    assert set(found) == {"TypeError" if mode == "cors" else "opaque"}
    assert visitor.status() == 200
    assert TokenSession.objects.count() == 1


# Another origin of the same site


def test_a_page_of_another_origin_of_the_site_works_if_it_is_let_in(
    open_browser: Callable[[], BrowserContext],
    kinds: Any,
    settings: Any,
    live_server: Any,
    ada: User,
) -> None:
    files = {"/app/": PAGE, "/app/session.js": client(f"{live_server.url}/api/")}
    with other_origin("localhost", files) as origin:
        visitor = Visitor(open_browser(), f"{origin}/app/")
        with pytest.raises(Exception, match="Failed to fetch"):
            visitor.log_in()
        settings.CORS_ALLOWED_ORIGINS = [origin]
        settings.CORS_ALLOW_CREDENTIALS = True
        settings.CORS_EXPOSE_HEADERS = ["x-csrftoken"]
        with pytest.raises(Exception, match="login: 403"):
            visitor.log_in()
        settings.CSRF_TRUSTED_ORIGINS = [origin]
        assert not visitor.refresh()
        assert visitor.log_in()
        assert set(visitor.cookies()) == set(kinds)
        visitor.load()
        assert visitor.refresh()
        assert visitor.status() == 200
        assert visitor.status("logout/others/", "POST") == 200
        visitor.log_out()
        assert visitor.cookies() == {}
        assert not visitor.refresh()


def test_an_outage_logs_nobody_out(
    visitor: Visitor, both: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import DatabaseError

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise DatabaseError

    assert visitor.log_in()
    with monkeypatch.context() as patch:
        patch.setattr("tokens.jwt.RefreshToken.use", fail)
        patch.setattr("tokens.sessions.end", fail)
        for name in ("refresh", "logout"):
            with pytest.raises(Exception, match=f"{name}: 503"):
                visitor.run(f"await session.{name}()")
    assert set(visitor.cookies()) == set(BOTH)
    assert visitor.refresh()
    assert json.loads(visitor.run("return (await session.request('sessions/')).text()"))["count"]
