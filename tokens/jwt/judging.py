"""Judge the text of a token for somebody who wants to know why, not for a request."""

from dataclasses import dataclass
from datetime import datetime

from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.exceptions import TokenError

from .. import clock
from ..claims import Claims, type_of
from ..conf import simplejwt
from ..exceptions import TokensError
from . import asking
from .any_type import is_refresh, signed_token


@dataclass(frozen=True)
class Judged:
    """A token that we signed, and whether it would be accepted now.

    ``ends_at`` is its ``exp``. ``refusal`` says why it is refused, regardless of its expiry; None
    if it is not.
    """

    claims: Claims
    type: str
    is_refresh: bool
    ends_at: datetime
    refusal: TokensError | None

    @property
    def has_expired(self) -> bool:
        """Whether simplejwt refuses the token for its age, the leeway considered."""
        return self.ends_at + simplejwt.LEEWAY <= clock.now()


@sensitive_variables()
def judge(raw: str) -> Judged | None:
    """Return what a request, or a refresh, would find; None if we did not sign the token.

    Two statements at most. Nothing is written, and the token is not used up.
    """
    try:
        token = signed_token(raw)
    except TokenError:
        return None
    claims, refreshes = token.claims, is_refresh(token)
    ask = asking.about_refresh if refreshes else asking.about_access
    refusal: TokensError | None = None
    try:
        ask(claims, token.payload)
    except TokensError as error:
        refusal = error
    return Judged(
        claims=claims,
        type=str(type_of(token.payload) or ""),
        is_refresh=refreshes,
        ends_at=clock.from_epoch(token.payload["exp"]),
        refusal=refusal,
    )
