"""What a token's claims mean to the project whose feed is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any

from . import fingerprints

REFRESH = "refresh"

LAST_SECOND = 253402300799  # of the year 9999


class Malformed(ValueError):
    """A claim is missing, or has a value that it can't have: the project refuses the token."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What may be refused: a token, its session, its user. ``user`` counts without a session."""

    issued_at: int
    expires_at: float
    token: int
    session: int | None
    user: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """The names and numbers that the feed's ``rules`` give."""

    access_lifetime: float
    longest_lifetime: float | None
    issuer: str
    jti_claim: str
    type_claim: str | None
    user_id_claim: str
    refresh_exp_claim: str
    session_claims: tuple[str, ...]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Rules":
        return cls(
            access_lifetime=float(given["access_lifetime"]),
            longest_lifetime=given["longest_lifetime"],
            issuer=given["issuer"] or "",
            jti_claim=given["jti_claim"],
            type_claim=given["type_claim"],
            user_id_claim=given["user_id_claim"],
            refresh_exp_claim=given["refresh_exp_claim"],
            session_claims=tuple(given["session_claims"]),
        )

    def may_extend(self, claims: Mapping[str, Any]) -> bool:
        """Return whether new tokens may be made of this one: a refresh token, a sliding token."""
        is_refresh = self.type_claim is not None and claims.get(self.type_claim) == REFRESH
        return is_refresh or self.refresh_exp_claim in claims

    def read(self, claims: Mapping[str, Any]) -> Subject:
        """Return what may be refused. Raises Malformed."""
        sessions = map(fingerprints.of_session, map(claims.get, self.session_claims))
        named = _user_id(claims.get(self.user_id_claim))
        issuer = self.issuer or (_text(claims["iss"]) if "iss" in claims else "")
        return Subject(
            issued_at=floor(_seconds(claims.get("iat", 0))),
            expires_at=_seconds(claims.get("exp")),
            token=fingerprints.of("token", _text(claims.get(self.jti_claim)), issuer=issuer),
            session=next((one for one in sessions if one is not None), None),
            # Users are the project's, so only its own issuer counts.
            user=None if named is None else fingerprints.of("user", named, issuer=self.issuer),
        )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 255:
        raise Malformed
    return value


def _user_id(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.isprintable() or len(value) > 255:
        raise Malformed
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed
    if not 0 <= value <= LAST_SECOND:  # nor is NaN
        raise Malformed
    return value
