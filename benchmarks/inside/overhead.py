"""Verify tokens and authenticate requests, simplejwt and this app by turns."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from statistics import median
from time import perf_counter_ns
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework_simplejwt.settings import api_settings

from benchmarks.inside.issue import access_tokens
from benchmarks.ways import Compared, Way

_TOKENS = 50
_SIZE = 10  # calls in a part: so few that another process seldom comes between
_PARTS = 20  # of a turn; what is loaded when the way changes is in the first one


def main(rounds: int) -> dict[str, Any]:
    """Take ``rounds`` turns of each; return the microseconds of a call in the quickest part."""
    raw = [text.encode() for text in access_tokens(_TOKENS)]
    factory = APIRequestFactory()
    requests = [
        Request(factory.get("/", HTTP_AUTHORIZATION=f"Bearer {text.decode()}")) for text in raw
    ]
    taken: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        for compared in Compared:
            found = taken.setdefault(compared.name, {"theirs": [], "ours": []})
            pair = [("theirs", compared.theirs), ("ours", compared.ours)]
            for name, way in pair if number % 2 else reversed(pair):
                found[name] += _turn(way, raw, requests, alone=compared.alone)
    return {
        name: {who: {"best": min(parts), "median": median(parts)} for who, parts in found.items()}
        for name, found in taken.items()
    }


def _turn(way: Way, raw: list[bytes], requests: list[Request], *, alone: bool) -> list[float]:
    """Return the microseconds of a call in each part of a turn."""
    # simplejwt's settings keep what was read once, so this is what its classes see.
    token_class = import_string(way.token)
    api_settings.AUTH_TOKEN_CLASSES = [token_class]
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=way.max_age)
    if alone:
        return _parts(token_class, raw)
    return _parts(import_string(way.authentication)().authenticate, requests)


def _parts(call: Callable[[Any], Any], subjects: Sequence[Any]) -> list[float]:
    taken = []
    for number in range(_PARTS):
        start = number * _SIZE % _TOKENS
        part = subjects[start : start + _SIZE]
        began = perf_counter_ns()
        for subject in part:
            call(subject)
        taken.append((perf_counter_ns() - began) / _SIZE / 1_000)
    return taken
