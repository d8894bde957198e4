"""The tokens of a measurement of staleness: the same ones in each of its processes."""

import random
from typing import Any

from benchmarks.inside import bulk, texts
from benchmarks.inside.migrate import USERS
from tokens import clock, keys
from tokens.claims import Claims
from tokens.conf import simplejwt

_DAY = 86_400


def main(count: int, issued: float) -> dict[str, Any]:
    """Write a session for each token."""
    from tokens.models import TokenSession

    now = texts.time(issued)
    bulk.load(
        TokenSession,
        "sid user refresh_jti previous_jti auth_hash created_at last_used_at expires_at user_agent",
        (
            (
                *((item.sid or "").replace("-", ""), item.user_id, texts.digits(32), ""),
                *(texts.digits(64), now, now, texts.time(issued + _DAY), ""),
            )
            for item in claims(count, issued)
        ),
    )
    bulk.settle()
    return {}


def claims(count: int, issued: float) -> list[Claims]:
    """Return claims of access tokens of sessions, issued at that moment (seconds since 1970)."""
    chance = random.Random(issued)
    issued_at = clock.from_epoch(int(issued))
    return [
        Claims(
            jti=f"{chance.getrandbits(128):032x}",
            sid=sid(chance, issued),
            user_id=str(1 + number % USERS),
            issuer="",
            issued_at=issued_at,
            expires_at=issued_at + simplejwt.ACCESS_TOKEN_LIFETIME,
        )
        for number in range(count)
    ]


def sid(chance: random.Random, issued: float) -> str:
    """Return the id of a session that began at that moment, as the app would spell it."""
    text = texts.hyphened(
        f"{int(issued * 1_000):012x}7{chance.getrandbits(12):03x}"
        f"{8 + chance.getrandbits(2):x}{chance.getrandbits(60):015x}"
    )
    return keys._seal(text)
