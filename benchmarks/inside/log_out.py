"""Revoke tokens over HTTP, and note when each of them was answered."""

import time
from contextlib import closing
from http.client import HTTPConnection
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from benchmarks.board import Board
from benchmarks.inside import pool
from tokens import clock
from tokens.claims import Claims
from tokens.jwt import AccessToken

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def main(
    board: dict[str, Any], process: int, issued: float, port: int, lane: int, seconds: float
) -> dict[str, Any]:
    """Revoke the tokens of ``lane`` one after another, spread over ``seconds``."""
    shared = Board(**board)
    claims = pool.claims(shared.tokens, issued)
    tokens = shared.tokens_of(lane)
    bodies = [urlencode({"token": _signed(claims[token])}) for token in tokens]
    errors: list[str] = []
    at = shared.wait(process)
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for number, token in enumerate(tokens):
            time.sleep(max(0.0, at + number * seconds / len(tokens) - monotonic()))
            shared.begin(lane)
            connection.request("POST", "/api/revoke/", bodies[number], _FORM)
            response = connection.getresponse()
            text = response.read()
            if response.status == 200:
                shared.revoked[token] = monotonic()
            else:
                errors.append(f"{response.status}: {text[:150]!r}")
    return {"revoked": len(tokens) - len(errors), "errors": errors}


def _signed(claims: Claims) -> str:
    token = AccessToken()
    token.payload |= {
        "jti": claims.jti,
        "sid": claims.sid,
        "user_id": claims.user_id,
        "iat": clock.to_epoch(claims.issued_at),
        "exp": clock.to_epoch(claims.expires_at),
    }
    return str(token)
