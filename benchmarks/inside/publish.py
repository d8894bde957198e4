"""Make answers of the feed and take them in; tell what both cost."""

import json
import time
from time import perf_counter
from typing import Any

from django.http import HttpResponse
from rest_framework.test import APIRequestFactory, force_authenticate

from benchmarks.inside import memory
from tokens.api.revocations import RevocationsView
from tokens.feed import clocks
from tokens.feed.copy import Copy, merged
from tokens.keys import new_sid

_TIMES = 2_000


class _Caller:
    is_authenticated = True
    pk = None

    def has_perm(self, _name: str) -> bool:
        return True


def main() -> dict[str, Any]:
    _answer({})  # connects, imports
    complete = _measured({}, None)
    cursor = complete.pop("copy")
    newer = _measured({"since": cursor.cursor}, cursor)
    del newer["copy"]
    return {"complete": complete, "newer": newer}


def _measured(query: dict[str, str], before: Copy | None) -> dict[str, Any]:
    at = memory.start_over()
    started, begun = clocks.now(), perf_counter()
    body = _answer(query).content
    made, server = perf_counter() - begun, memory.peak() - at
    at, begun = memory.start_over(), perf_counter()
    copy = merged(before, json.loads(body), started=started, ended=clocks.now())
    took, reader = perf_counter() - begun, memory.peak() - at
    now = int(time.time())
    payload = {"jti": "a", "sid": new_sid(), "user_id": "1", "iat": now, "exp": now + 300}
    begun = perf_counter()
    for _ in range(_TIMES):
        copy.refuses(payload)
    check = (perf_counter() - begun) / _TIMES
    figures = {"made": made, "server": server, "merged": took, "reader": reader, "check": check}
    return {"bytes": len(body), "copy": copy, **figures}


def _answer(query: dict[str, str]) -> HttpResponse:
    request = APIRequestFactory().get("/", query)
    force_authenticate(request, _Caller())  # type: ignore[arg-type]
    answer: HttpResponse = RevocationsView.as_view()(request)  # type: ignore[assignment]
    if answer.status_code != 200:
        raise RuntimeError(f"the feed answered {answer.status_code}")
    return answer
