"""simplejwt's authentication classes, which also refuse revoked tokens."""

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework_simplejwt import authentication as base
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from .. import blacklist
from ..claims import Claims, payload_of
from ..conf import ACCESS, conf
from ..exceptions import (
    ClientReason,
    PasswordChanged,
    TokenMalformed,
    TokenRevoked,
    TokensError,
    UserInactive,
    UserUnknown,
)
from ..jwt import (
    MAX_TOKEN_BYTES,
    ODD_CLAIM,
    RevocableToken,
    check_user,
    client_reason,
    left_to_caller,
    reason_of,
)
from . import cookies, csrf
from .asynchronous import AsyncAuthentication, AsyncStatelessAuthentication
from .errors import DATABASE_ERRORS, unavailable
from .hiding import hide_header
from .reasons import with_reason


class ChecksBlacklist(AsyncAuthentication, base.JWTAuthentication):
    """Refuse every revoked token, whatever its class.

    Our ``get_user`` asks the blacklist in its own query. A project's ``get_user`` may not, and a
    caller of ``get_validated_token`` alone calls none: for these, ``get_validated_token`` asks.
    """

    def authenticate(self, request: Request) -> Any:
        by_header = super().authenticate
        return self.ask_once(self._by_either if conf.TOKENS_COOKIES else by_header, request)

    @sensitive_variables()
    def _by_either(self, request: Request) -> Any:
        """Authenticate by the header or the access cookie, and refuse what another site may send.

        The token is judged first, as SessionAuthentication looks at the session first.
        """
        if self.get_header(request) is not None:
            return super().authenticate(request)
        raw = cookies.carried(request, ACCESS)
        if raw is None:
            return None
        token = self.get_validated_token(raw.encode())
        user = self.get_user(token)
        csrf.enforce(request)
        return user, token

    @sensitive_variables()
    def ask_once(self, authenticate: Callable[[Request], Any], request: Request) -> Any:
        """Return what ``authenticate`` does, in one statement if ``get_user`` is ours.

        ``authenticate`` gives each token that ``get_validated_token`` returns to ``get_user``.
        """
        hide_header(request)
        if not self._get_user_asks():
            return authenticate(request)
        before = left_to_caller.set(self)
        try:
            return authenticate(request)
        finally:
            left_to_caller.reset(before)

    def _get_user_asks(self) -> bool:
        """Return whether ``get_user`` is one of ours, which ask the blacklist."""
        ours = (JWTAuthentication.get_user, JWTStatelessUserAuthentication.get_user)
        return getattr(self.get_user, "__func__", None) in ours

    @sensitive_variables()
    def get_validated_token(self, raw_token: bytes) -> Token:
        if len(raw_token) > MAX_TOKEN_BYTES:
            raise InvalidToken(_("Token is too long"))
        is_get_user_asking = left_to_caller.get() is self
        before = left_to_caller.set(raw_token)
        try:
            token = super().get_validated_token(raw_token)
        except ODD_CLAIM as error:
            raise with_reason(InvalidToken(), client_reason(raw_token)) from error
        except InvalidToken as error:
            types = [kind.token_type for kind in api_settings.AUTH_TOKEN_CLASSES]
            with_reason(error, client_reason(raw_token, types=types))
            raise
        finally:
            left_to_caller.reset(before)
        if not is_get_user_asking:
            self.check(self.claims(token))
        return token

    def check(self, claims: Claims) -> None:
        """Check the blacklist in a separate statement; 401 if the token is refused."""
        try:
            blacklist.check(claims)
        except DATABASE_ERRORS as error:
            raise unavailable() from error
        except TokenRevoked as error:
            raise _refused(InvalidToken(_(str(error))), error, claims) from error

    def claims(self, token: Token) -> Claims:
        """Return the claims of a token, or of a mapping; 401 if one is malformed."""
        try:
            return token.claims if isinstance(token, RevocableToken) else Claims.of(token)
        except (TokenError, TokenMalformed) as error:
            refusal = InvalidToken(_(str(error)))
            raise with_reason(refusal, ClientReason.MALFORMED) from error


class JWTAuthentication(ChecksBlacklist):
    """Authenticate by a token that is not revoked. One statement reads the user and checks it.

    A revoked token gets 401 in simplejwt's shape, whatever AUTH_TOKEN_CLASSES says. If the database
    can't be read, the answer is 503.
    """

    @sensitive_variables()
    def get_user(self, validated_token: Token) -> Any:
        claims = self.claims(validated_token)
        if not claims.user_id and claims.sid is None:
            refusal = InvalidToken(_("Token contained no recognizable user identification"))
            raise with_reason(refusal, ClientReason.MALFORMED)
        try:
            user = blacklist.user_of(claims)
            check_user(user, payload_of(validated_token))
        except DATABASE_ERRORS as error:
            raise unavailable() from error
        except TokensError as error:
            raise _refused(_answer_to(error), error, claims) from error
        return user


def _answer_to(error: TokensError) -> AuthenticationFailed:
    """Return what simplejwt raises in such a case."""
    match error:
        case UserUnknown():
            return AuthenticationFailed(_("User not found"), code="user_not_found")
        case UserInactive():
            return AuthenticationFailed(_("User is inactive"), code="user_inactive")
        case PasswordChanged():
            return AuthenticationFailed(_(str(error)), code="password_changed")
    return InvalidToken(_(str(error)))


def _refused(
    answer: AuthenticationFailed, error: TokensError, claims: Claims
) -> AuthenticationFailed:
    return with_reason(answer, reason_of(error, claims))


class JWTStatelessUserAuthentication(
    AsyncStatelessAuthentication, ChecksBlacklist, base.JWTStatelessUserAuthentication
):
    """Authenticate by a token that is not revoked, without reading its user. One statement."""

    @sensitive_variables()
    def get_user(self, validated_token: Token) -> Any:
        self.check(self.claims(validated_token))
        try:
            return super().get_user(validated_token)
        except InvalidToken as error:  # it names no user
            with_reason(error, ClientReason.MALFORMED)
            raise
