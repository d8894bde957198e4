"""Clients that check, log out and refresh without a break, and remember what was answered."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

PASSWORD = "correct horse battery staple"
PAUSE = 0.02
PATIENCE = 30  # seconds; nothing may take as long

ME, STATELESS, VERIFY = "GET /api/me/", "GET /api/stateless/", "POST /api/token/verify/"
LOGOUT, REFRESH = "POST /api/logout/", "POST /api/token/refresh/"
LOGIN, HEALTH = "POST /api/token/", "GET /health/"
CHECKS = (ME, STATELESS, VERIFY)


@dataclass(frozen=True)
class Answer:
    """What was answered to ``what``; moments by the monotonic clock of the test."""

    what: str
    token: str
    status: int
    began: float
    ended: float
    body: dict[str, Any] = field(default_factory=dict)
    retry_after: str | None = None
    allowed: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def wrong(self) -> bool:
        if self.status not in self.allowed:
            return True
        refused = self.status == 503 and self.what != HEALTH
        return refused and (self.retry_after, self.body.get("code")) != ("1", "service_unavailable")


@dataclass
class Login:
    """The two tokens of a login, and since when they are revoked."""

    access: str
    refresh: str
    logout_began: float | None = None
    logged_out: float | None = None


class Site:
    """A server of the demo project: its port, and how old its answers may be."""

    def __init__(self, port: int, max_age: float) -> None:
        self.port, self.max_age = port, max_age

    def ask(
        self,
        what: str,
        token: str = "",
        /,
        *,
        access: str = "",
        allowed: tuple[int, ...],
        **body: str,
    ) -> Answer:
        method, path = what.split()
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if access:
            headers["Authorization"] = f"Bearer {access}"
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        ended = time.monotonic()
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(
            what,
            token,
            response.status,
            began,
            ended,
            json.loads(text) if is_json and text else {"text": text[:500].decode()},
            response.headers.get("Retry-After"),
            allowed,
        )

    def log_in(self) -> Answer:
        return self.ask(LOGIN, username="ada", password=PASSWORD, allowed=(200, 503))

    def check(self, what: str, login: Login, token: str) -> Answer:
        """Use the access token of ``login``; 503 is right, and else only what it must be."""
        now = time.monotonic()
        revoked = login.logged_out is not None and now > login.logged_out + self.max_age
        body = {"token": login.access} if what == VERIFY else {}
        access = "" if what == VERIFY else login.access
        answer = self.ask(what, token, access=access, allowed=(), **body)
        if revoked:
            allowed: tuple[int, ...] = (401, 503)
        elif login.logout_began is None:
            allowed = (200, 503)
        else:
            allowed = (200, 401, 503)  # being logged out, or a moment ago, or nobody knows
        return Answer(**{**vars(answer), "allowed": allowed})


class Traffic:
    """Clients of one site. ``answers`` grows until ``stop``."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answers: list[Answer] = []
        self.errors: list[BaseException] = []
        self.good, self.revoked, self.refreshed = self._new(), self._new(), self._new()
        self.waiting = [self._new() for _ in range(30)]
        self.logged_out: list[Login] = []
        self._log_out(self.revoked)
        assert self.revoked.logged_out is not None
        time.sleep(site.max_age)
        self._over = threading.Event()
        work = (self._checks(), self._checks(), self._logouts(), self._logins())
        self._threads = [threading.Thread(target=self._run, args=(steps,)) for steps in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE * 2)

    def since(self, moment: float) -> list[Answer]:
        return [answer for answer in self.answers if answer.began >= moment]

    def _new(self) -> Login:
        answer = self.site.log_in()
        assert answer.status == 200, answer
        return Login(answer.body["access"], answer.body["refresh"])

    def _run(self, steps: Iterator[None]) -> None:
        try:
            for _ in steps:
                if self._over.wait(PAUSE):
                    return
        except BaseException as error:  # noqa: BLE001 (told to the test)
            self.errors.append(error)

    def _checks(self) -> Iterator[None]:
        while True:
            for what in CHECKS:
                self._check(what, self.good, "good")
                yield
                self._check(what, self.revoked, "revoked")
                yield
                for login in self.logged_out[-1:]:
                    self._check(what, login, "logged out")
                    yield
            self.answers.append(self.site.ask(HEALTH, allowed=(200, 503)))
            yield

    def _check(self, what: str, login: Login, token: str) -> None:
        self.answers.append(self.site.check(what, login, token))

    def _logouts(self) -> Iterator[None]:
        while self.waiting:
            login = self.waiting.pop()
            self._log_out(login)
            self.logged_out.append(login)
            for _ in range(4):  # or they would be used up too soon
                yield

    def _logins(self) -> Iterator[None]:
        while True:
            self._refresh()
            yield
            self.answers.append(self.site.log_in())
            yield

    def _log_out(self, login: Login) -> None:
        login.logout_began = time.monotonic()
        answer = self.site.ask(LOGOUT, refresh=login.refresh, allowed=(204, 503))
        if answer.status == 204:
            login.logged_out = answer.ended
        self.answers.append(answer)

    def _refresh(self) -> None:
        """Use the newest refresh token; the old one again after an answer of 503."""
        answer = self.site.ask(REFRESH, refresh=self.refreshed.refresh, allowed=(200, 503))
        if answer.status == 200:
            self.refreshed.refresh = answer.body["refresh"]
        self.answers.append(answer)


def counts(answers: list[Answer]) -> dict[str, Counter[int]]:
    """Return how often which status was answered, for each kind of question and token."""
    found: dict[str, Counter[int]] = {}
    for answer in answers:
        name = f"{answer.what.split('/')[-2]} {answer.token}".strip()
        found.setdefault(name, Counter())[answer.status] += 1
    return found


def wait_for(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
