"""Why a token is refused, in a word for its holder, and for nobody who holds no token of ours.

It is looked up for tokens that are refused already. It only informs.
"""

from collections.abc import Collection

from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt import tokens as base
from rest_framework_simplejwt.exceptions import TokenError

from .. import sessions
from ..claims import Claims, type_of
from ..conf import simplejwt
from ..exceptions import ClientReason, TokenMalformed, TokensError
from ..log import logger
from .any_type import AnyToken, is_refresh, is_signed, signed_token


@sensitive_variables()
def client_reason(
    text: str | bytes,
    error: BaseException | None = None,
    *,
    types: Collection[str | None] = (),
) -> ClientReason | None:
    """Return why a token is refused, or None if its holder may not hear or nobody knows.

    ``error`` is what refused the token; ``types`` are those that would not have been refused for
    their type. One statement at most.

    Nobody hears why a text is refused that we have not signed. That an access token has expired
    comes before anything else, because its holder can refresh; why a session ended comes before
    that a refresh token of it has expired.
    """
    try:
        return _reason(text, error, types)
    except Exception:  # a project's own classes and backends are asked, and this decides nothing
        logger.warning(
            "why a token is refused can't be said: its holder hears nothing",
            exc_info=True,
            extra={"event": "reason_failed"},
        )
        return None


@sensitive_variables()
def _reason(
    text: str | bytes, error: BaseException | None, types: Collection[str | None]
) -> ClientReason | None:
    try:
        token = signed_token(text)
    except TokenError:
        return ClientReason.MALFORMED if is_signed(text) else None
    refusal = _refusal_in(error)
    if isinstance(refusal, TokenMalformed):
        return ClientReason.MALFORMED
    refreshes, has_expired = is_refresh(token), _has_expired(token)
    if has_expired and not refreshes:
        return ClientReason.EXPIRED
    if refusal is not None:
        return reason_of(refusal, token.claims, in_session=refreshes)
    if has_expired:
        recorded = sessions.recorded_reason(token.claims, in_session=False)
        return recorded or ClientReason.EXPIRED
    return None if _fits(token, types) else ClientReason.MALFORMED


def reason_of(error: TokensError, claims: Claims, *, in_session: bool = False) -> ClientReason:
    """Return why ``error`` refuses a token that we have signed and that has not expired.

    One statement at most. ``in_session`` is said of refresh tokens.
    """
    if error.client_reason is not None:
        return error.client_reason
    if claims.lives_too_long:
        return ClientReason.MALFORMED
    recorded = sessions.recorded_reason(claims, in_session=in_session)
    return recorded or ClientReason.REVOKED


def _refusal_in(error: BaseException | None) -> TokensError | None:
    while error is not None and not isinstance(error, TokensError):
        error = error.__cause__
    return error


def _has_expired(token: AnyToken) -> bool:
    try:
        token.check_exp()
    except TokenError:
        return True
    return False


def _fits(token: AnyToken, types: Collection[str | None]) -> bool:
    """Return whether the token has one of these types, or there are none."""
    if simplejwt.TOKEN_TYPE_CLAIM is None:
        return True
    kind = type_of(token.payload)
    any_type = not types or base.UntypedToken.token_type in types
    return isinstance(kind, str) and (any_type or kind in types)
