"""What a token says about itself, read once and typed.

Claims are hostile input even under a good signature (RFC 8725, section 3.11): another service may
share the key. If a claim can't be read exactly, the token is malformed; we never guess.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from . import clock
from .conf import SESSION_CLAIM, conf, simplejwt
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
        payload = payload_of(token)
        sid = sid_in(payload)
        issued_at = clock.from_epoch(math.floor(_seconds(payload, "iat", default=0)))
        expires_at = _expires_at(token)
        return cls(
            jti=_text(payload, simplejwt.JTI_CLAIM),
            sid=sid,
            user_id=_user_id(payload),
            issuer=simplejwt.ISSUER or _issuer(payload),
            issued_at=issued_at,
            expires_at=expires_at,
            needs_session=sid is not None
            and type_of(payload) != REFRESH
            and expires_at - issued_at > simplejwt.ACCESS_TOKEN_LIFETIME,
        )

    @property
    def lives_too_long(self) -> bool:
        """Whether a token without a session claims to outlive the entry that refuses its user's.

        So does a token without ``iat``: nothing tells how old it is.
        """
        limit = conf.TOKENS_LONGEST_LIFETIME
        return limit is not None and self.sid is None and self.expires_at - self.issued_at > limit


def payload_of(token: HasPayload | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the payload of a token; simplejwt takes a mapping for a token, too."""
    return token if isinstance(token, Mapping) else token.payload


def sid_in(payload: Mapping[str, Any]) -> str | None:
    """Return the id of our session in a payload, or None.

    Any other value of TOKENS_SESSION_CLAIM belongs to the project or to another issuer, and counts
    as none. An id of ours in the claim "sid" always counts, so that renaming the claim revives no
    token.
    """
    value = payload.get(conf.TOKENS_SESSION_CLAIM)
    if not is_sid(value):
        value = payload.get(SESSION_CLAIM)
    return str(value) if is_sid(value) else None


def type_of(payload: Mapping[str, Any]) -> Any:
    """Return the type of a token, or None if it has none or TOKEN_TYPE_CLAIM is None."""
    claim = simplejwt.TOKEN_TYPE_CLAIM
    return None if claim is None else payload.get(claim)


def _text(payload: Mapping[str, Any], claim: str) -> str:
    value = payload.get(claim)
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 255:
        raise TokenMalformed(claim)
    return value


def _user_id(payload: Mapping[str, Any]) -> str | None:
    claim = simplejwt.USER_ID_CLAIM
    value = payload.get(claim)
    if value is None:
        return None
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        value = str(value)  # simplejwt before 5.5 wrote integers, and a project's encoder may UUIDs
    if not isinstance(value, str) or not value.isprintable() or len(value) > 255:
        raise TokenMalformed(claim)
    return value


def _issuer(payload: Mapping[str, Any]) -> str:
    return _text(payload, "iss") if "iss" in payload else ""


def _seconds(payload: Mapping[str, Any], claim: str, *, default: float | None = None) -> float:
    value = payload.get(claim, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenMalformed(claim)
    if not 0 <= value <= LAST_SECOND:  # nor is NaN
        raise TokenMalformed(claim)
    return float(value)


def _expires_at(token: HasPayload | Mapping[str, Any]) -> datetime:
    payload = payload_of(token)
    exp = _seconds(payload, "exp")
    refresh_claim = simplejwt.SLIDING_TOKEN_REFRESH_EXP_CLAIM
    if refresh_claim in payload:
        # A sliding token keeps its jti when it is refreshed, at the latest a leeway after the
        # refresh limit, and then lives for one more lifetime.
        lifetime = getattr(token, "lifetime", None) or timedelta(0)
        lifetime = max(lifetime, simplejwt.SLIDING_TOKEN_LIFETIME).total_seconds()
        lifetime = max(lifetime, exp - _seconds(payload, "iat", default=exp))
        last_refresh = _seconds(payload, refresh_claim) + simplejwt.LEEWAY.total_seconds()
        exp = max(exp, last_refresh + lifetime)
    return clock.from_epoch(exp)
