"""Authenticate requests in each of several ways by turns, and tell how long each call took."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from time import perf_counter_ns
from typing import Any

from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework_simplejwt.settings import api_settings

from benchmarks.inside import question
from benchmarks.inside.issue import access_tokens
from benchmarks.ways import CACHED, WAYS, Way

_TOKENS = 100

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
    _prepared(CACHED)
    return {
        "ways": {
            name: question.distribution(taken[name]) | {"statements": statements[name]}
            for name in ways
        },
        "alone": question.alone(raw),
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
