"""Check tokens as another service does, by a copy of the feed, and note which are accepted when."""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from benchmarks.board import Board
from benchmarks.inside import pool
from benchmarks.inside.check import Checker
from tokens import clock
from tokens.claims import Claims
from tokens.feed import Feed, FeedTooOld, NotCovered

_PATIENCE = 60.0


def main(
    board: dict[str, Any],
    process: int,
    parts: list[int],
    issued: float,
    port: int,
    caller: str,
    max_age: float,
) -> dict[str, Any]:
    """Check in a thread for each of ``parts``, until the board says stop."""
    shared = Board(**board)
    claims = pool.claims(shared.tokens, issued)
    feed = Feed(
        f"http://127.0.0.1:{port}/api/revocations/",
        headers={"Authorization": f"Bearer {caller}"},
        max_age=max_age,
    )
    source = _Counted(feed._source)
    feed._source = source  # type: ignore[assignment]
    checkers = [_Reader(shared, part, claims, feed) for part in parts]
    _wait_for(feed, checkers[0].payloads[0])
    begun, asked = shared.wait(process), source.number
    with ThreadPoolExecutor(len(parts)) as threads:
        list(threads.map(Checker.run, checkers, [0] * len(parts)))
    seconds = monotonic() - begun
    feed.close()
    return {
        "checks": sum(checker.checks for checker in checkers),
        "errors": [error for checker in checkers for error in checker.errors],
        "left_out": sum(checker.left_out for checker in checkers),
        "too_old": sum(checker.too_old for checker in checkers),
        "missed": sum(
            shared.revoked[token] > 0 for checker in checkers for token in checker.active
        ),
        "answers": (source.number - asked) / seconds,
        "bytes": source.keys / seconds,
    }


def _wait_for(feed: Feed, payload: dict[str, Any]) -> None:
    """Wait for the first copy; a server that has just started may take long to answer."""
    until = monotonic() + _PATIENCE
    while True:
        try:
            feed.refuses(payload)
        except FeedTooOld:
            if monotonic() > until:
                raise
        else:
            return


class _Counted:
    """The source of a feed, which counts its answers, and the letters of their keys."""

    def __init__(self, source: Any) -> None:
        self._source, self.number, self.keys = source, 0, 0

    def get(self, cursor: str | None) -> Any:
        found = self._source.get(cursor)
        self.number, self.keys = self.number + 1, self.keys + len(found["keys"])
        return found


class _Reader(Checker):
    """One thread's work, with a copy of the feed instead of the database."""

    def __init__(self, board: Board, part: int, claims: list[Claims], feed: Feed) -> None:
        super().__init__(board, part, claims)
        self.too_old = self.left_out = 0
        self.payloads = [_payload(one) for one in claims]
        self._feed = feed

    def _is_accepted(self, token: int, *, again: bool = False) -> bool:
        self.checks += 1
        begun = monotonic()
        try:
            refused = self._feed.refuses(self.payloads[token])
        except FeedTooOld:  # a service answers 503 then
            self.too_old += 1
            return True
        except NotCovered:  # or asks introspect/: the run took so long that the token is old
            self.left_out += 1
            return False
        if not refused:
            self._accepted[token] = begun
        elif not again:
            self._refused.append(token)
        return not refused


def _payload(claims: Claims) -> dict[str, Any]:
    return {
        "jti": claims.jti,
        "sid": claims.sid,
        "user_id": claims.user_id,
        "iat": clock.to_epoch(claims.issued_at),
        "exp": clock.to_epoch(claims.expires_at),
    }
