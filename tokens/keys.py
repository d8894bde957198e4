"""The ids of entries and sessions: fixed-width UUIDs, exact on every database.

Collations make different text ids equal (letter case, accents, trailing blanks), and a jti may
have any length and alphabet. A UUID has neither problem. The text of a token, or its hash, is
never a key, because one token has several spellings (CVE-2026-102269).
"""

import hashlib
import re
import sys
import uuid
import zlib
from datetime import datetime
from functools import lru_cache

from . import clock

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    from uuid6 import uuid7


def new_sid() -> str:
    """Return a new session id: a UUIDv7 (RFC 9562) in its canonical text form.

    Its last 32 bits are a checksum of the others. Other issuers and projects use UUIDv7 too, so
    this is how ``is_sid`` knows ours. 41 random bits or more are left beside the millisecond.
    """
    number = uuid7().int
    # Python's own uuid7 counts within a millisecond, and threads or forked processes may count the
    # same. All that then differs are the bits that the checksum replaces, so mix them in first.
    return _sealed(number ^ (number & _CHECKSUM) >> 2 << 32)


def is_sid(value: object) -> bool:
    """Return whether ``value`` is the id of a session of this app, and nobody else's id."""
    return isinstance(value, str) and _is_session(value) is not None and value == _seal(value)


# Each check asks this. A pattern takes a quarter of the time of building a UUID and its text.
_is_session = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
).fullmatch

_CHECKSUM = (1 << 32) - 1

# So that a checksum of other software over the same text is not mistaken for ours.
_SEED = zlib.crc32(b"django-token-blacklist")


def _sealed(number: int) -> str:
    return _seal(str(uuid.UUID(int=number)))


def _seal(sid: str) -> str:
    """Return the canonical text ``sid`` with its last eight digits replaced by the checksum."""
    return f"{sid[:28]}{zlib.crc32(sid[:28].encode(), _SEED):08x}"


def session_uuid(sid: str) -> uuid.UUID | None:
    """Return ``sid`` as the UUIDv7 it spells in canonical form, or None if it is anything else."""
    return uuid.UUID(sid) if _is_session(sid) else None


def key_for(scope: str, subject: str, *, issuer: str) -> uuid.UUID:
    """Return the key of the entry that refuses ``subject`` (a jti or user id).

    It is a UUIDv8 from SHA-256 over the length-prefixed parts, so two parts never run together. The
    id of a session is its own key: time-ordered keys keep neighbouring rows on neighbouring pages.
    The version keeps the two kinds apart.
    """
    digest = hashlib.sha256(_prefix(scope, issuer) + _with_length(subject)).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76  # version 8
    # The variant of RFC 9562 is two bits, 10. The third is fixed too, because MariaDB refuses a
    # UUIDv8 whose ninth byte is exactly 0x80.
    number = number & ~(0x7 << 61) | 0x5 << 61
    return uuid.UUID(int=number)


_LOW = (1 << 64) - 1


def fingerprint(key: uuid.UUID) -> int:
    """Return the lower half of a key, 61 or 62 bits of which are random. Never zero."""
    return key.int & _LOW


# Clients send the same token again and again; 8192 of them take 4 MB.
@lru_cache(maxsize=8192)
def fingerprints_of(sid: str, jti: str, issuer: str) -> tuple[int, int]:
    """Return the fingerprints of the two entries that may refuse a token: its session's, its own.

    Each check needs them, so this takes a fraction of the time of ``key_for``.
    """
    digest = hashlib.sha256(_prefix("token", issuer) + _with_length(jti)).digest()
    token = int.from_bytes(digest[8:16], "big") & ~(0x7 << 61) | 0x5 << 61
    return int(sid[19:23] + sid[24:], 16), token


@lru_cache(maxsize=64)
def _prefix(scope: str, issuer: str) -> bytes:
    return _with_length(scope) + _with_length(issuer)


def _with_length(part: str) -> bytes:
    data = part.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "big") + data


def adopted_sid(jti: str, *, issuer: str, issued_at: datetime) -> str:
    """Return the id of the session that continues a refresh token without a ``sid``.

    It is a UUIDv7 made of the token's own ``iat`` and jti. So a later request with that token, to
    log out or to use it again, finds the session.
    """
    number = key_for("adopted", jti, issuer=issuer).int & (1 << 76) - 1
    milliseconds = clock.to_epoch(issued_at) * 1000
    return _sealed(milliseconds << 80 | 0x7 << 76 | number)
