"""Load the snapshot that checks use; tell its time, its memory, and whom it held up."""

import gc
import threading
import time
from datetime import timedelta
from time import perf_counter
from typing import Any

from django.conf import settings

from benchmarks.inside import memory
from benchmarks.inside.issue import access_tokens
from benchmarks.ways import CACHED

_TICK = 0.001
_QUIET = 2.0


class _Ticking:
    """A thread that would like to run each millisecond, and keeps the longest it had to wait."""

    def __enter__(self) -> "_Ticking":
        self.longest = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _tick(self) -> None:
        last = perf_counter()
        while not self._done.is_set():
            time.sleep(_TICK)
            now = perf_counter()
            self.longest = max(self.longest, now - last - _TICK)
            last = now


def main(seconds: float) -> dict[str, Any]:
    """Load it, load it again, and then ask it for ``seconds``; seconds and bytes come back."""
    from rest_framework_simplejwt.tokens import AccessToken

    from tokens import blacklist, snapshot
    from tokens.claims import Claims

    using = blacklist.database()
    claims = Claims.of(AccessToken(access_tokens(1)[0]))
    blacklist.is_revoked(claims)  # connects, imports
    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=CACHED.max_age)
    with _Ticking() as quiet:
        time.sleep(_QUIET)
    before = memory.start_over()
    with _Ticking() as ticking:
        began = perf_counter()
        snapshot.refuses(claims, using=using)
        took = perf_counter() - began
    peak = memory.peak() - before
    gc.collect()
    held = memory.start_over() - before
    found = {
        "seconds": took,
        "entries": snapshot.facts(using=using).size,
        "stall": ticking.longest,
        "stall_without": quiet.longest,
        "peak": peak,
        "held": held,
    }
    return found | _asked(claims, using, seconds) | {"peak_later": memory.peak() - before}


def _asked(claims: Any, using: str, seconds: float) -> dict[str, Any]:
    """Ask a thousand times a second, as a busy server does, while the snapshot is loaded again."""
    from tokens import snapshot

    before = snapshot.facts(using=using)
    slowest = [0.0]
    asked = 0
    until = perf_counter() + seconds
    while (began := perf_counter()) < until:
        snapshot.refuses(claims, using=using)
        slowest.append(perf_counter() - began)
        asked += 1
        time.sleep(_TICK)
    after = snapshot.facts(using=using)
    slow = [value for value in slowest if value > _TICK]
    return {
        "asked": asked,
        "from_snapshot": after.from_snapshot - before.from_snapshot,
        "loads": after.loads - before.loads,
        "loading": sum(slow),
        "longest_load": max(slowest),
    }
