"""Clients that check, log out and refresh without a break, and remember what was answered."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from .processes import PATIENCE

PASSWORD = "correct horse battery staple"
PAUSE = 0.2  # seconds; others need the processor, too

ME, STATELESS, VERIFY = "GET /api/me/", "GET /api/stateless/", "POST /api/token/verify/"
LOGOUT, REFRESH = "POST /api/logout/", "POST /api/token/refresh/"
LOGIN, HEALTH = "POST /api/token/", "GET /health/"
CHECKS = (ME, STATELESS, VERIFY)
WRITES = (LOGOUT, REFRESH, LOGIN)


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

    def new_login(self) -> Login:
        for _ in range(20):
            answer = self.log_in()
            if answer.status != 503:
                break
            # On a busy machine, another site held SQLite's lock for longer than it may.
            time.sleep(float(answer.retry_after or 1))
        assert answer.status == 200, answer
        return Login(answer.body["access"], answer.body["refresh"])

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
        return replace(answer, allowed=allowed)


class Traffic:
    """Clients of one site. ``answers`` grows until ``stop``."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answers: list[Answer] = []
        self.errors: list[BaseException] = []
        self.good, self.revoked, self.refreshed = (
            site.new_login(),
            site.new_login(),
            site.new_login(),
        )
        self.spare = site.new_login()
        self.waiting = [site.new_login() for _ in range(16)]
        self.logged_out: list[Login] = []
        self._log_out(self.revoked)
        self._over = threading.Event()
        work = (self._checks(), self._checks(), self._logouts(), self._logins())
        self._threads = [threading.Thread(target=self._run, args=(steps,)) for steps in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE * 2)

    def asked(self, *what: str, since: float) -> list[Answer]:
        """Return the answers to ``what``, or any but HEALTH, asked for at ``since`` or later."""
        what = what or (*CHECKS, *WRITES)
        return [one for one in self.answers if one.what in what and one.began >= since]

    def has_recovered(self, since: float) -> bool:
        """Return whether the last ten of those that were asked for since then are good."""
        last = self.asked(since=since)[-10:]
        return len(last) == 10 and all(one.status != 503 for one in last)

    def _run(self, steps: Iterator[None]) -> None:
        try:
            for _ in steps:
                if self._over.wait(PAUSE):
                    return
        except BaseException as error:  # noqa: BLE001 (told to the test)
            self.errors.append(error)

    def probe(self) -> dict[str, int]:
        """Ask each question once, all at the same time, with good tokens; return the statuses."""
        login, site, good = self.waiting.pop(), self.site, (200, 503)
        self.logged_out.append(login)
        work: dict[str, Callable[[], Answer]] = {
            what: partial(self.check, what, self.spare, "good") for what in CHECKS
        }
        work[HEALTH] = partial(site.ask, HEALTH, allowed=good)
        work[LOGIN] = site.log_in
        work[REFRESH] = partial(self._refresh, self.spare)
        work[LOGOUT] = partial(self._log_out, login)
        with ThreadPoolExecutor(len(work)) as pool:
            asked = {what: pool.submit(call) for what, call in work.items()}
        return {what: one.result().status for what, one in asked.items()}

    def check_at_once(self, what: str, *, number: int) -> set[int]:
        """Ask so often at the same time that each process of the site is asked."""
        with ThreadPoolExecutor(number) as pool:
            asked = [pool.submit(self.check, what, self.spare, "good") for _ in range(number)]
        return {one.result().status for one in asked}

    def _checks(self) -> Iterator[None]:
        while True:
            for what in CHECKS:
                self.check(what, self.good, "good")
                yield
                self.check(what, self.revoked, "revoked")
                yield
                for login in self.logged_out[-1:]:
                    self.check(what, login, "logged out")
                    yield
            self.answers.append(self.site.ask(HEALTH, allowed=(200, 503)))
            yield

    def check(self, what: str, login: Login, token: str) -> Answer:
        self.answers.append(answer := self.site.check(what, login, token))
        return answer

    def _logouts(self) -> Iterator[None]:
        while len(self.waiting) > 2:  # for ``probe``
            login = self.waiting.pop()
            self._log_out(login)
            self.logged_out.append(login)
            for _ in range(2):  # or they would be used up too soon
                yield

    def _logins(self) -> Iterator[None]:
        while True:
            self._refresh(self.refreshed)
            yield
            self.answers.append(self.site.log_in())
            yield

    def _log_out(self, login: Login) -> Answer:
        login.logout_began = time.monotonic()
        answer = self.site.ask(LOGOUT, refresh=login.refresh, allowed=(204, 503))
        if answer.status == 204:
            login.logged_out = answer.ended
        self.answers.append(answer)
        return answer

    def _refresh(self, login: Login) -> Answer:
        """Use the newest refresh token; the old one again after an answer of 503."""
        answer = self.site.ask(REFRESH, refresh=login.refresh, allowed=(200, 503))
        if answer.status == 200:
            login.refresh = answer.body["refresh"]
        self.answers.append(answer)
        return answer


def wait_for(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
