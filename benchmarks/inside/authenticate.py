"""Authenticate requests in each of several ways by turns, and tell how long each call took."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from math import ceil
from statistics import median
from time import perf_counter_ns
from typing import Any

from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework_simplejwt.settings import api_settings

from benchmarks.inside.issue import access_tokens
from benchmarks.ways import CACHED, WAYS, Way

_TOKENS = 100
_CHECKS = 5_000  # of one question alone

Ask = Callable[[Request], Any]


def main(ways: list[str], rounds: int, calls: int) -> dict[str, Any]:
    """Make ``rounds`` of ``calls`` in each of ``ways``; return nanoseconds and SQL statements."""
    raw = access_tokens(_TOKENS)
    factory = APIRequestFactory()
    requests = [Request(factory.get("/", HTTP_AUTHORIZATION=f"Bearer {text}")) for text in raw]
    taken: dict[str, list[int]] = {name: [] for name in ways}
    statements = {name: _statements(WAYS[name], requests) for name in ways}
    for number in range(rounds):
        # Each round begins with another way, so that none always follows the same one.
        for name in ways[number % len(ways) :] + ways[: number % len(ways)]:
            ask = _prepared(WAYS[name])
            taken[name] += _timed(ask, _repeated(requests, calls))
    return {
        "ways": {
            name: _distribution(taken[name]) | {"statements": statements[name]} for name in ways
        },
        "alone": _alone(raw),
    }


def _prepared(way: Way) -> Ask:
    """Set the project to ``way``, and return its authenticate()."""
    # simplejwt's settings keep what was read once, so this is what its classes see.
    api_settings.AUTH_TOKEN_CLASSES = [import_string(way.token)]
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=way.max_age)
    ask: Ask = import_string(way.authentication)().authenticate
    return ask


def _statements(way: Way, requests: list[Request]) -> float:
    """Return the SQL statements of a call, when what only a first one does has been done."""
    ask = _prepared(way)
    for request in requests:
        ask(request)
    with CaptureQueriesContext(connection) as captured:
        for request in requests:
            ask(request)
    return len(captured) / len(requests)


def _timed(ask: Ask, requests: Iterator[Request]) -> list[int]:
    taken = []
    for request in requests:
        began = perf_counter_ns()
        answer = ask(request)
        taken.append(perf_counter_ns() - began)
        assert answer is not None
    return taken


def _repeated(requests: list[Request], calls: int) -> Iterator[Request]:
    for number in range(calls):
        yield requests[number % len(requests)]


def _alone(raw: list[str]) -> dict[str, Any]:
    """Ask the copy alone, by turns with verifying the same token.

    ``again``: tokens that were asked about before, as when clients come again; ``first``: tokens
    that nobody has asked about.
    """
    from rest_framework_simplejwt.tokens import AccessToken

    from tokens import blacklist, snapshot
    from tokens.claims import Claims
    from tokens.jwt import AccessToken as OurAccessToken
    from tokens.jwt import deferred_question

    _prepared(CACHED)
    using = blacklist.database()
    answers: set[bool | None] = set()
    known = [Claims.of(AccessToken(text)) for text in raw]
    for claims in known:
        snapshot.refuses(claims, using=using)
    again: list[int] = []
    verified: list[int] = []
    read: list[int] = []
    for number in range(_CHECKS):
        text, claims = raw[number % len(raw)], known[number % len(raw)]
        start = perf_counter_ns()
        answer = snapshot.refuses(claims, using=using)
        asked = perf_counter_ns()
        AccessToken(text)
        plainly = perf_counter_ns()
        with deferred_question():
            OurAccessToken(text)
        fully = perf_counter_ns()
        answers.add(answer)
        again.append(asked - start)
        verified.append(plainly - asked)
        read.append(fully - plainly)
    first = []
    for claims in _unknown(_CHECKS):
        start = perf_counter_ns()
        answer = snapshot.refuses(claims, using=using)
        first.append(perf_counter_ns() - start)
        answers.add(answer)
        AccessToken(raw[0])  # else this would be a tight loop, which no server runs
    found = {"again": again, "first": first, "verification": verified, "ours": read}
    return {name: _distribution(values) for name, values in found.items()} | {
        "clock": median(_clock() for _ in range(_CHECKS)),
        "answered": sorted(map(str, answers)),
    }


def _unknown(count: int) -> list[Any]:
    """Return claims of as many tokens that were never asked about."""
    from tokens.claims import Claims
    from tokens.jwt import AccessToken
    from tokens.keys import new_sid

    token = AccessToken()
    found = []
    for _ in range(count):
        token.set_jti()
        token["sid"] = new_sid()
        token["user_id"] = "1"
        found.append(Claims.of(token))
    return found


def _clock() -> int:
    """Return how long reading the clock takes, which is part of every figure."""
    began = perf_counter_ns()
    return perf_counter_ns() - began


def _distribution(taken: list[int]) -> dict[str, Any]:
    ordered = sorted(taken)
    return {
        "count": len(ordered),
        "median": median(ordered),
        "p99": ordered[ceil(len(ordered) * 0.99) - 1],
        "max": ordered[-1],
    }
