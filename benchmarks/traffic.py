"""Clients that log in, refresh and log out at a fixed rate, however fast they are answered.

A request that has to wait for its turn counts from the moment it was due: a server that stalls
can't make fewer requests see it.
"""

import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from time import monotonic

from benchmarks.inside.migrate import credentials

LOGIN, REFRESH, LOGOUT = OPERATIONS = ("login", "refresh", "logout")

# What each client does, again and again.
_ROUND = (LOGIN, REFRESH, REFRESH, LOGOUT)
_PATHS = {LOGIN: ("token/", 200), REFRESH: ("token/refresh/", 200), LOGOUT: ("logout/", 204)}
_CLIENTS = 16


@dataclass(frozen=True)
class Request:
    """One request: when it was due (monotonic clock), how long it took from then, what failed."""

    operation: str
    due: float
    seconds: float
    error: str = ""


class Traffic:
    """Clients of the server at ``port``, who keep their sessions between two slices of time."""

    def __init__(self, port: int) -> None:
        self._clients = [_Client(port, number) for number in range(_CLIENTS)]

    def drive(self, rate: float, *, begin: float, until: float) -> list[Request]:
        """Send ``rate`` requests a second from ``begin`` until ``until``; return them as answered.

        Connections are fresh, because a server closes what was idle for long; so the caller
        should leave out the first second.
        """
        numbers, lock = itertools.count(), threading.Lock()

        def next_due() -> float:
            with lock:
                return begin + next(numbers) / rate

        def work(client: _Client) -> list[Request]:
            answered = []
            while (due := next_due()) < until:
                time.sleep(max(0.0, due - monotonic()))
                answered.append(client.next_request(due))
            client.close()
            return answered

        with ThreadPoolExecutor(_CLIENTS) as pool:
            return [request for requests in pool.map(work, self._clients) for request in requests]


class _Client:
    def __init__(self, port: int, number: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._number, self._refresh = number, ""
        self._round = itertools.cycle(_ROUND)

    def next_request(self, due: float) -> Request:
        operation = next(self._round)
        try:
            self._do(operation)
            error = ""
        except (OSError, HTTPException, RuntimeError) as failure:
            error = f"{operation}: {type(failure).__name__}: {failure}"[:300]
            self._round = itertools.cycle(_ROUND)
            self.close()
        return Request(operation, due, monotonic() - due, error)

    def close(self) -> None:
        self._connection.close()

    def _do(self, operation: str) -> None:
        path, expected = _PATHS[operation]
        data = credentials(self._number) if operation == LOGIN else {"refresh": self._refresh}
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", f"/api/{path}", json.dumps(data).encode(), headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != expected:
            raise RuntimeError(f"{response.status} {body[:200]!r}")
        if body:
            self._refresh = json.loads(body)["refresh"]
