"""How long asking the snapshot takes by itself, beside verifying a token."""

from collections.abc import Iterable
from math import ceil
from statistics import median
from time import perf_counter_ns
from typing import Any

from benchmarks.plain_token import AccessToken
from tokens import blacklist, snapshot
from tokens.claims import Claims
from tokens.jwt import AccessToken as OurAccessToken
from tokens.jwt import caller_asks_about
from tokens.keys import new_sid

_PARTS, _TIMES = 10, 10  # parts, and how often each token comes again in one of them


def alone(raw: list[str]) -> dict[str, Any]:
    """Return nanoseconds of single calls, and what the snapshot answered.

    ``again``: tokens that were asked about before, as when clients come again. ``first``: tokens
    that nobody has asked about. Both in a row; ``between`` by turns with verifying a token. All
    in parts by turns, so that what else the machine does meets all of them.
    """
    using = blacklist.database()
    known = [Claims.of(AccessToken(text)) for text in raw]
    answers = {snapshot.refuses(claims, using=using) for claims in known}
    names = ("again", "first", "between", "verification", "ours")
    taken: dict[str, list[int]] = {name: [] for name in names}
    for _ in range(_PARTS):
        unknown = _unknown(len(known) * _TIMES)
        for name, asked in (("again", known * _TIMES), ("first", unknown)):
            durations, said = _in_a_row(asked, using)
            taken[name] += durations
            answers |= said
        for text, claims in list(zip(raw, known, strict=True)) * _TIMES:
            durations, said = _in_a_row([claims], using)
            taken["between"] += durations
            answers |= said
            start = perf_counter_ns()
            AccessToken(text)
            plainly = perf_counter_ns()
            with caller_asks_about(text):
                OurAccessToken(text)
            taken["ours"].append(perf_counter_ns() - plainly)
            taken["verification"].append(plainly - start)
    return {name: distribution(values) for name, values in taken.items()} | {
        "clock": median(_clock() for _ in range(1_000)),
        "answered": sorted(map(str, answers)),
    }


def distribution(taken: list[int]) -> dict[str, Any]:
    ordered = sorted(taken)
    return {
        "count": len(ordered),
        "median": median(ordered),
        "p99": ordered[ceil(len(ordered) * 0.99) - 1],
        "max": ordered[-1],
    }


def _in_a_row(asked: Iterable[Claims], using: str) -> tuple[list[int], set[bool | None]]:
    taken, answers = [], set()
    for claims in asked:
        start = perf_counter_ns()
        answer = snapshot.refuses(claims, using=using)
        taken.append(perf_counter_ns() - start)
        answers.add(answer)
    return taken, answers


def _unknown(count: int) -> list[Claims]:
    """Return claims of as many tokens that were never asked about."""
    token = OurAccessToken()
    token["user_id"] = "1"
    found = []
    for _ in range(count):
        token.set_jti()
        token["sid"] = new_sid()
        found.append(Claims.of(token))
    return found


def _clock() -> int:
    """Return how long reading the clock takes, which is part of every figure."""
    began = perf_counter_ns()
    return perf_counter_ns() - began
