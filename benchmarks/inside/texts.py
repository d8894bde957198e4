"""Values as bulk loading takes them: texts."""

import random
from datetime import UTC, datetime, timedelta

from benchmarks.inside.migrate import USERS

_EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)

_chance = random.Random(2)


def uuid7(seconds: float) -> str:
    bits = _chance.getrandbits
    return f"{int(seconds * 1_000):012x}7{bits(12):03x}{8 + bits(2):x}{bits(60):015x}"


def hyphened(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def digits(number: int) -> str:
    return f"{_chance.getrandbits(4 * number):0{number}x}"


def user() -> str:
    return str(1 + int(_chance.random() * USERS))


def time(seconds: float) -> str:
    """Return a time as all three databases read it: in UTC, without saying so."""
    return str(_EPOCH + timedelta(seconds=seconds))
