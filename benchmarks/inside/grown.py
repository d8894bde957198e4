"""What a check, a login and a refresh take on tables that have grown, in this process."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from django.contrib.auth import get_user_model

from benchmarks.inside import memory, tables
from tokens.jwt import AccessToken, RefreshToken


def main(times: int) -> dict[str, Any]:
    """Return the median of so many in microseconds each, and the size of the tables."""
    users = list(get_user_model().objects.order_by("-pk")[:times])
    before = memory.start_over()
    refreshes = [RefreshToken.for_user(user) for user in users]
    accesses = [str(refresh.access_token) for refresh in refreshes]
    others = iter(users)
    return {
        "check": _median(iter(accesses), AccessToken),
        "login": _median(others, lambda user: str(RefreshToken.for_user(user))),
        "logout": _median(iter(refreshes), lambda refresh: refresh.blacklist()),
        "memory": memory.peak() - before,
        "bytes": tables.size(),
        "rows": tables.rows(),
    }


def _median(each: Any, act: Callable[[Any], object]) -> float:
    seconds = []
    for one in each:
        began = perf_counter()
        act(one)
        seconds.append(perf_counter() - began)
    return median(seconds) * 1e6
