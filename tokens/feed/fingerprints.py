"""The fingerprints of entries, as ``tokens.keys`` makes them, without Django."""

import hashlib
import re
import zlib
from functools import lru_cache

_SEED = zlib.crc32(b"django-token-blacklist")

_is_uuid7 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
).fullmatch


def of_session(value: object) -> int | None:
    """Return the fingerprint of a session's entry; None if ``value`` is no id of a session of ours.

    The last eight digits are a checksum of what comes before them.
    """
    if not isinstance(value, str) or not _is_uuid7(value):
        return None
    if int(value[28:], 16) != zlib.crc32(value[:28].encode(), _SEED):
        return None
    return int(value[19:23] + value[24:], 16)


@lru_cache(maxsize=8192)  # clients send the same token again and again
def of(scope: str, subject: str, *, issuer: str) -> int:
    """Return the fingerprint of the entry for a jti (scope "token") or a user id (scope "user")."""
    digest = hashlib.sha256(b"".join(map(_with_length, (scope, issuer, subject)))).digest()
    return int.from_bytes(digest[8:16], "big") & ~(0x7 << 61) | 0x5 << 61


def _with_length(part: str) -> bytes:
    data = part.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "big") + data
