"""Revoke tokens in the ways that a project does, and note when each of them was answered."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import Error, connection, transaction

from benchmarks.board import Board
from benchmarks.inside import pool
from tokens import blacklist, sessions
from tokens.claims import Claims


def main(
    board: dict[str, Any],
    process: int,
    lanes: list[int],
    issued: float,
    seconds: float,
    hold: float,
    *,
    rest: bool,
) -> dict[str, Any]:
    """Revoke the tokens of each of ``lanes`` in a thread of its own, spread over ``seconds``.

    With ``hold``, each in a transaction that stays open for up to so many seconds, and as many as
    begin within ``seconds``; ``rest`` leaves the database to the others for as long afterwards.
    """
    shared = Board(**board)
    claims = pool.claims(shared.tokens, issued)
    revokers = [_Revoker(shared, lane, claims, hold) for lane in lanes]
    blacklist.is_revoked(claims[0])  # imports
    at = shared.wait(process)
    with ThreadPoolExecutor(len(lanes)) as threads:
        list(threads.map(lambda each: each.run(at, at + seconds, rest=rest), revokers))
    return {
        "revoked": sum(each.revoked for each in revokers),
        "longest_hold": max(each.longest_hold for each in revokers),
        "errors": [error for each in revokers for error in each.errors],
    }


class _Revoker:
    """One thread's work."""

    def __init__(self, board: Board, lane: int, claims: list[Claims], hold: float) -> None:
        self.revoked = 0
        self.longest_hold = 0.0
        self.errors: list[str] = []
        self._board, self._lane, self._claims = board, lane, claims
        self._hold = hold
        self._chance = random.Random(lane)

    def run(self, at: float, until: float, *, rest: bool) -> None:
        tokens = self._board.tokens_of(self._lane)
        interval = 0.0 if self._hold else (until - at) / len(tokens)
        try:
            for number, token in enumerate(tokens):
                if self._hold and monotonic() > until:
                    return
                time.sleep(max(0.0, at + number * interval - monotonic()))
                begun = monotonic()
                self._board.begin(self._lane)
                while not self._is_revoked(token):
                    time.sleep(0.05)
                if rest:
                    time.sleep(monotonic() - begun)
        finally:
            connection.close()

    def _is_revoked(self, token: int) -> bool:
        """Revoke a token and note the moment when it was done; return False if it failed."""
        try:
            if self._hold:
                with transaction.atomic(blacklist.database()):
                    _revoke(token, self._claims[token])
                    held = self._chance.uniform(0, self._hold)
                    time.sleep(held)
                self.longest_hold = max(self.longest_hold, held)
            else:
                _revoke(token, self._claims[token])
        except Error as error:
            self.errors.append(f"{type(error).__name__}: {error}"[:200])
            return False
        self._board.revoked[token] = monotonic()
        self.revoked += 1
        return True


def _revoke(number: int, claims: Claims) -> None:
    kind = number % 4
    if kind == 0:  # this one token
        blacklist.revoke_token(claims)
    elif kind == 1:  # a login in the list of devices
        sessions.end_by_ids([UUID(claims.sid or "")], reason=blacklist.Reason.LOGOUT)
    else:
        sessions.end(claims)
