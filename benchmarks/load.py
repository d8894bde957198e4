"""Clients that send a request as soon as the one before is answered."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from itertools import cycle
from time import perf_counter

from benchmarks.inside.migrate import credentials


def refresh_for(seconds: float, *, port: int, clients: int) -> list[float]:
    """Return how long each refresh took that was answered within ``seconds``.

    Each client goes along a chain of tokens of its own.
    """
    with ThreadPoolExecutor(clients) as pool:
        sessions = list(pool.map(_Client, [port] * clients, range(clients)))
        until = perf_counter() + seconds
        answered = list(pool.map(_Client.refresh_until, sessions, [until] * clients))
    return [duration for durations in answered for duration in durations]


class _Client:
    """One client with one connection, logged in."""

    def __init__(self, port: int, number: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self._refresh = self._post("token/", credentials(number))["refresh"]

    def refresh_until(self, moment: float) -> list[float]:
        durations: list[float] = []
        while True:
            began = perf_counter()
            self._refresh = self._post("token/refresh/", {"refresh": self._refresh})["refresh"]
            if (ended := perf_counter()) > moment:
                self._connection.close()
                return durations
            durations.append(ended - began)

    def _post(self, path: str, data: dict[str, str]) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", f"/api/{path}", json.dumps(data).encode(), headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}: {body[:200]!r}")
        answer: dict[str, str] = json.loads(body)
        return answer


def read_for(seconds: float, *, port: int, clients: int, tokens: list[str]) -> list[float]:
    """Return how long each GET of /api/me/ took that was answered within ``seconds``."""
    until = perf_counter() + seconds
    with ThreadPoolExecutor(clients) as pool:
        parts = [tokens[number::clients] for number in range(clients)]
        answered = list(pool.map(_read_until, [port] * clients, parts, [until] * clients))
    return [duration for durations in answered for duration in durations]


def _read_until(port: int, tokens: list[str], moment: float) -> list[float]:
    durations: list[float] = []
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for token in cycle(tokens):
            began = perf_counter()
            connection.request("GET", "/api/me/", headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise RuntimeError(f"/api/me/ answered {response.status}: {body[:200]!r}")
            if (ended := perf_counter()) > moment:
                break
            durations.append(ended - began)
    return durations
