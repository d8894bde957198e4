"""What a token says about itself, read once and typed.

Claims are hostile input even under a good signature (RFC 8725, section 3.11): another service may
share the key. If a claim can't be read exactly, the token is malformed; we never guess.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from . import clock
from .conf import SESSION_CLAIM, Reading, conf, reading, simplejwt
from .exceptions import TokenMalformed
from .keys import is_sid

REFRESH = "refresh"  # the type of a refresh token, the only one whose session is always asked

LAST_SECOND = 253402300799  # of the year 9999; Python knows no later moment


class HasPayload(Protocol):
    """A decoded token; simplejwt's ``Token`` is one."""

    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that decide whether a token is revoked.

    ``sid`` is the id of a session of ours, or None.

    ``user_id`` is None if the token names no user. It may be empty, as the user's USER_ID_FIELD
    may be: then only the session tells who the user is.

    ``expires_at`` is the last moment at which this token, or one refreshed from it under the same
    id, could be accepted; the verifier's leeway comes on top. ``needs_session`` is true of an
    access token that lives longer than ACCESS_TOKEN_LIFETIME after it was issued. The entry that
    ended its session may be removed before such a token expires, so the token is accepted only
    while the row of its session exists.
    """

    jti: str
    sid: str | None
    user_id: str | None
    issuer: str
    issued_at: datetime
    expires_at: datetime
    needs_session: bool = False

    @classmethod
    def of(cls, token: HasPayload | Mapping[str, Any]) -> "Claims":
        """Return the claims of a decoded token, or of its payload.

        Raises TokenMalformed if a claim is missing, or has a value that it can't have.
        """
        payload, settings = payload_of(token), reading()
        sid = sid_in(payload)
        issued_at = clock.from_epoch(math.floor(_seconds(payload.get("iat", 0), "iat")))
        exp = _seconds(payload.get("exp"), "exp")
        if settings.refresh_exp_claim in payload:
            exp = _end_of_sliding(token, payload, settings.refresh_exp_claim, exp)
        expires_at = clock.from_epoch(exp)
        return cls(
            jti=_text(payload.get(settings.jti_claim), settings.jti_claim),
            sid=sid,
            user_id=_user_id(payload.get(settings.user_id_claim), settings.user_id_claim),
            issuer=settings.issuer or (_text(payload["iss"], "iss") if "iss" in payload else ""),
            issued_at=issued_at,
            expires_at=expires_at,
            needs_session=sid is not None
            and type_of(payload) != REFRESH
            and expires_at - issued_at > settings.access_lifetime,
        )

    def is_of_login(self, other: "Claims") -> bool:
        """Return whether ``other`` are the claims of this token, or of one of the same session."""
        return other.jti == self.jti or (other.sid is not None and other.sid == self.sid)

    @property
    def lives_too_long(self) -> bool:
        """Whether a token without a session claims to outlive the entry that refuses its user's.

        So does a token without ``iat``: nothing tells how old it is.
        """
        limit = conf.TOKENS_LONGEST_LIFETIME
        return limit is not None and self.sid is None and self.expires_at - self.issued_at > limit


class Read(NamedTuple):
    """The claims of a payload, as they were read under certain settings."""

    payload: dict[str, Any]
    settings: Reading
    claims: Claims


# By jti. Clients send the same token with each request; these take 6 MB. Nothing here says whether
# a token is good.
_known: dict[str, Read] = {}
_MOST_KNOWN = 4096


def read(token: HasPayload) -> Read:
    """Return the claims of a token, and what they were read from; see ``Claims.of``.

    If the same payload was read before under the same settings, it is not read again.
    """
    payload, settings = token.payload, reading()
    jti = payload.get(settings.jti_claim)
    known = _known.get(jti) if type(jti) is str else None
    if known is not None and known.settings is settings and known.payload == payload:
        return known
    found = Read(dict(payload), settings, Claims.of(token))
    if _may_be_known(payload, settings):
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[found.claims.jti] = found
    return found


def _may_be_known(payload: dict[str, Any], settings: Reading) -> bool:
    """Return whether every payload that equals this one means the same, and it is small.

    ``True`` equals 1 and a float may equal an integer, but neither is the id of a user. What a
    sliding token means depends on its class, too. A refresh token seldom comes again.
    """
    if type_of(payload) == REFRESH:
        return False
    iat, exp, user_id = payload.get("iat"), payload["exp"], payload.get(settings.user_id_claim)
    is_usual = type(iat) is int and iat > 1 and type(exp) is int and exp > 1
    return (
        is_usual
        and (user_id is None or type(user_id) is str)
        and settings.refresh_exp_claim not in payload
        and len(payload) <= _MOST_CLAIMS
        and all(type(value) in _SCALARS for value in payload.values())
        and sum(len(value) for value in payload.values() if type(value) is str) <= _MOST_TEXT
    )


_MOST_CLAIMS, _MOST_TEXT, _SCALARS = 16, 512, (str, int, float, bool, type(None))


def payload_of(token: HasPayload | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the payload of a token; simplejwt takes a mapping for a token, too."""
    return token if isinstance(token, Mapping) else token.payload


def sid_in(payload: Mapping[str, Any]) -> str | None:
    """Return the id of our session in a payload, or None.

    Any other value of TOKENS_SESSION_CLAIM belongs to the project or to another issuer, and counts
    as none. An id of ours in the claim "sid" always counts, so that renaming the claim revives no
    token.
    """
    for claim in (conf.TOKENS_SESSION_CLAIM, SESSION_CLAIM):
        if is_sid(value := payload.get(claim)):
            return str(value)
    return None


def type_of(payload: Mapping[str, Any]) -> Any:
    """Return the type of a token, or None if it has none or TOKEN_TYPE_CLAIM is None."""
    claim = simplejwt.TOKEN_TYPE_CLAIM
    return None if claim is None else payload.get(claim)


def _text(value: object, claim: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 255:
        raise TokenMalformed(claim)
    return value


def _user_id(value: object, claim: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        value = str(value)  # simplejwt before 5.5 wrote integers, and a project's encoder may UUIDs
    if not isinstance(value, str) or not value.isprintable() or len(value) > 255:
        raise TokenMalformed(claim)
    return value


def _seconds(value: object, claim: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenMalformed(claim)
    if not 0 <= value <= LAST_SECOND:  # nor is NaN
        raise TokenMalformed(claim)
    return value


def _end_of_sliding(token: object, payload: Mapping[str, Any], claim: str, exp: float) -> float:
    """Return when the last token expires that a sliding token is refreshed to.

    It keeps its jti, is refreshed a leeway after the refresh limit at the latest, and then lives
    for one more lifetime.
    """
    lifetime = getattr(token, "lifetime", None) or timedelta(0)
    seconds = max(lifetime, simplejwt.SLIDING_TOKEN_LIFETIME).total_seconds()
    seconds = max(seconds, exp - _seconds(payload.get("iat", exp), "iat"))
    last_refresh = _seconds(payload.get(claim), claim) + simplejwt.LEEWAY.total_seconds()
    return min(max(exp, last_refresh + seconds), LAST_SECOND)
