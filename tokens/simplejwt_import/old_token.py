"""One token of simplejwt's, as its row and its stored text describe it.

The text is not verified: its key may have changed, and what refuses a token needs no proof. A
claim that can't be read counts as missing, so no row is ever left out for what it contains.
"""

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from .. import clock
from ..claims import LAST_SECOND, REFRESH, sid_in, type_of
from ..conf import SESSION_CLAIM, conf, simplejwt
from ..keys import adopted_sid, key_for


@dataclass(frozen=True, slots=True)
class Names:
    """What the settings say about tokens, read once: asking Django for each token takes longer."""

    issuer: str | None
    session: str
    last_refresh: str
    after_last_refresh: float
    end_of_time: datetime

    @classmethod
    def now(cls) -> "Names":
        more = simplejwt.LEEWAY + simplejwt.SLIDING_TOKEN_LIFETIME
        return cls(
            issuer=simplejwt.ISSUER,
            session=conf.TOKENS_SESSION_CLAIM,
            last_refresh=simplejwt.SLIDING_TOKEN_REFRESH_EXP_CLAIM,
            after_last_refresh=more.total_seconds(),
            end_of_time=clock.end_of_time(),
        )


class OldToken:
    """A token: its row's columns and the payload of its text."""

    __slots__ = (
        *("pk", "jti", "user_pk", "created_at", "expires_at", "blacklisted_at"),
        *("payload", "issuer", "_names"),
    )

    def __init__(
        self,
        names: Names,
        pk: int,
        jti: str,
        user_pk: Any,
        text: str,
        expires_at: datetime | None,
        created_at: datetime | None,
        blacklisted_at: datetime | None = None,
    ) -> None:
        self._names = names
        self.pk, self.jti, self.user_pk = pk, jti, user_pk
        self.created_at, self.expires_at = created_at, expires_at
        self.blacklisted_at = blacklisted_at
        self.payload = _payload(text)
        named = names.issuer or self.payload.get("iss")
        self.issuer = named if isinstance(named, str) else ""

    @property
    def key(self) -> UUID:
        """The key of the entry that refuses the token."""
        return key_for("token", self.jti, issuer=self.issuer)

    @property
    def issued_at(self) -> datetime:
        return clock.from_epoch(int(self._seconds("iat") or 0))

    @property
    def sid(self) -> str | None:
        """The id of our session that an old server refreshed, or None."""
        has_one = SESSION_CLAIM in self.payload or self._names.session in self.payload
        return sid_in(self.payload) if has_one else None

    @property
    def continued_by(self) -> str:
        """The id of the session that continues the token, if there is one."""
        return adopted_sid(self.jti, issuer=self.issuer, issued_at=self.issued_at)

    @property
    def is_plain_refresh(self) -> bool:
        """Whether it is a refresh token that names a user and no session of ours."""
        is_refresh = type_of(self.payload) == REFRESH
        return is_refresh and self.user_pk is not None and self.sid is None

    @property
    def ends_at(self) -> datetime:
        """The last moment at which the token as it is stored could be accepted.

        A sliding token lives for one more lifetime after its last refresh.
        """
        end = self._seconds("exp") or 0.0
        if last_refresh := self._seconds(self._names.last_refresh):
            end = max(end, last_refresh + self._names.after_last_refresh)
        stored = clock.from_epoch(end)
        return stored if self.expires_at is None else max(self.expires_at, stored)

    def may_end_at(self, longest: timedelta | None) -> datetime:
        """The last moment at which the token could be accepted if it was made to live longer.

        A project may lengthen it after simplejwt has stored it ("remember me").
        """
        end_of_time = self._names.end_of_time
        if longest is None:
            return end_of_time
        made_at = self.created_at or self.blacklisted_at or self.issued_at
        return max(self.ends_at, min(made_at, end_of_time - longest) + longest)

    def _seconds(self, claim: str) -> float | None:
        value = self.payload.get(claim)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if 0 <= value <= LAST_SECOND else None


def _payload(text: str) -> dict[str, Any]:
    """Return the claims of the stored text; none if it is no token."""
    try:
        part = text.split(".")[1]
        found = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode())
    except (ValueError, IndexError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
