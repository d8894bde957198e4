"""Check tokens again and again while others revoke them, and note which are accepted when."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from django.db import Error, connection

from benchmarks.board import Board
from benchmarks.inside import pool
from tokens import blacklist, snapshot
from tokens.claims import Claims

_AHEAD = 2  # tokens of each lane that are checked before their revocation begins
_AGAIN = 0.1  # the share of checks that ask about tokens which have been refused
_PAUSE = 0.001


def main(
    board: dict[str, Any], process: int, parts: list[int], issued: float, least: int
) -> dict[str, Any]:
    """Check in a thread for each of ``parts``, until the board says stop.

    Each thread checks at least ``least`` times.
    """
    shared = Board(**board)
    claims = pool.claims(shared.tokens, issued)
    checkers = [Checker(shared, part, claims) for part in parts]
    blacklist.is_revoked(claims[0])  # imports
    shared.wait(process)
    with ThreadPoolExecutor(len(parts)) as threads:
        list(threads.map(Checker.run, checkers, [least] * len(parts)))
    facts = snapshot.facts()
    return {
        "checks": sum(checker.checks for checker in checkers),
        "errors": [error for checker in checkers for error in checker.errors],
        "missed": sum(
            shared.revoked[token] > 0 for checker in checkers for token in checker.active
        ),
        "from_snapshot": facts.from_snapshot,
        "loads": facts.loads,
    }


class Checker:
    """One thread's work."""

    def __init__(self, board: Board, part: int, claims: list[Claims]) -> None:
        self.active: list[int] = []
        self.checks = 0
        self.errors: list[str] = []
        self._board, self._claims = board, claims
        self._accepted = board.accepted[part]
        self._using = blacklist.database()
        self._refused: list[int] = []
        self._taken = [0] * len(board.lanes)
        self._chance = random.Random(part)

    def run(self, least: int) -> None:
        try:
            while not self._board.stopped(monotonic()) or self.checks < least:
                self.check_all()
                time.sleep(_PAUSE)
        finally:
            connection.close()

    def check_all(self) -> None:
        """Check all tokens whose turn comes and that were not refused yet, and some that were."""
        self._take_more()
        self.active = [token for token in self.active if self._is_accepted(token)]
        if self._refused:
            for _ in range(1 + int(len(self.active) * _AGAIN)):
                self._is_accepted(self._chance.choice(self._refused), again=True)

    def _take_more(self) -> None:
        for lane, taken in enumerate(self._taken):
            tokens = self._board.tokens_of(lane)
            wanted = min(len(tokens), self._board.begun(lane) + _AHEAD)
            self.active += tokens[taken:wanted]
            self._taken[lane] = wanted

    def _is_accepted(self, token: int, *, again: bool = False) -> bool:
        self.checks += 1
        begun = monotonic()
        try:
            refused = blacklist.is_revoked(self._claims[token], using=self._using)
        except Error as error:  # a server answers 503 then
            self.errors.append(f"{type(error).__name__}: {error}"[:200])
            return True
        if not refused:
            self._accepted[token] = begun
        elif not again:
            self._refused.append(token)
        return not refused
