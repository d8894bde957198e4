"""Check tokens while a stream of entries is written; tell what the process's snapshot costs."""

import random
import time
from collections.abc import Callable
from time import monotonic, thread_time
from typing import Any

from benchmarks.board import Board
from benchmarks.inside import memory, pool
from benchmarks.inside.check import Checker
from tokens import blacklist, snapshot
from tokens.claims import Claims

_GOOD_IN_A_ROUND = 20
_REFUSED_IN_A_ROUND = 0.05


class _Watcher(Checker):
    """Checks mostly good tokens, as a server does, beside those that are about to be revoked."""

    good: list[Claims]

    def check_all(self) -> None:
        self._take_more()
        self.active = [token for token in self.active if self._is_accepted(token)]
        for claims in self._chance.sample(self.good, _GOOD_IN_A_ROUND):
            self.checks += 1
            if blacklist.is_revoked(claims, using=self._using):
                self.errors.append(f"{claims.sid} is good")
        if self._refused and self._chance.random() < _REFUSED_IN_A_ROUND:
            self._is_accepted(self._chance.choice(self._refused), again=True)


class _Loads:
    """What loads cost this process: of the processor, and of memory."""

    def __init__(self, load: Callable[..., Any]) -> None:
        self._load = load
        self.number, self.busy, self.longest, self.bytes, self.parts = 0, 0.0, 0.0, 0, 0

    def __call__(self, *asked: Any) -> Any:
        before = thread_time()
        found = self._load(*asked)
        took = thread_time() - before
        self.number, self.busy = self.number + 1, self.busy + took
        self.longest = max(self.longest, took)
        sets = {id(part.keys): part.keys.memory for part in found.parts}
        self.bytes, self.parts = max(self.bytes, sum(sets.values())), max(self.parts, len(sets))
        return found


def main(
    board: dict[str, Any], process: int, part: int, issued: float, good: int
) -> dict[str, Any]:
    """Check until the board says stop; tell how it went from then on when the first load was done.

    ``first`` are the seconds of the processor that the first load took.
    """
    shared = Board(**board)
    claims = pool.claims(shared.tokens, issued)
    watcher = _Watcher(shared, part, claims)
    watcher.good = _good_tokens(good, process, issued, claims[0])
    known = snapshot.DatabaseSnapshot(blacklist.database())
    loads = _Loads(known._loader.load)
    known._loader.load = loads  # type: ignore[method-assign]
    snapshot.reset(known)
    blacklist.is_revoked(watcher.good[0], used_up=True)  # connects, imports
    before = memory.start_over()
    while snapshot.refuses(watcher.good[0], using=known.using) is None:
        time.sleep(0.05)
    first = loads.longest
    shared.wait(process)
    begun, facts = monotonic(), snapshot.facts()
    loads.number, loads.busy, loads.longest = 0, 0.0, 0.0
    watcher.run(0)
    seconds, after = monotonic() - begun, snapshot.facts()
    return {
        "checks": watcher.checks,
        "from_snapshot": after.from_snapshot - facts.from_snapshot,
        "without_snapshot": after.without_snapshot - facts.without_snapshot,
        "missed": sum(shared.revoked[token] > 0 for token in watcher.active),
        "errors": watcher.errors,
        "size": after.size,
        "first": first,
        "loads": loads.number,
        "share": loads.busy / seconds,
        "longest_load": loads.longest,
        "bytes": loads.bytes,
        "parts": loads.parts,
        "resident": memory.peak() - before,
    }


def _good_tokens(number: int, process: int, issued: float, like: Claims) -> list[Claims]:
    chance = random.Random(process)
    return [
        Claims(
            jti=f"good-{chance.getrandbits(64)}",
            sid=pool.sid(chance, issued),
            user_id="1",
            issuer="",
            issued_at=like.issued_at,
            expires_at=like.expires_at,
        )
        for _ in range(number)
    ]
