"""simplejwt's authentication classes, which also refuse revoked tokens."""

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework_simplejwt import authentication as base
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError
from rest_framework_simplejwt.tokens import Token

from .. import blacklist
from ..claims import Claims, payload_of
from ..exceptions import (
    PasswordChanged,
    TokenMalformed,
    TokenRevoked,
    UserInactive,
    UserUnknown,
)
from ..jwt import (
    MAX_TOKEN_BYTES,
    ODD_CLAIM,
    RevocableToken,
    caller_asks_about,
    check_user,
    is_left_to_caller,
)
from .errors import DATABASE_ERRORS, unavailable
from .hiding import hide_header


class ChecksBlacklist(base.JWTAuthentication):
    """Refuse every revoked token, whatever its class.

    Our ``get_user`` asks the blacklist in its own query. A project's ``get_user`` may not, and a
    caller of ``get_validated_token`` alone calls none: for these, ``get_validated_token`` asks.
    """

    @sensitive_variables()
    def authenticate(self, request: Request) -> Any:
        return self.ask_once(super().authenticate, request)

    @sensitive_variables()
    def ask_once(self, authenticate: Callable[[Request], Any], request: Request) -> Any:
        """Return what ``authenticate`` does, in one statement if ``get_user`` is ours.

        ``authenticate`` gives each token that ``get_validated_token`` returns to ``get_user``.
        """
        hide_header(request)
        if not self._get_user_asks():
            return authenticate(request)
        with caller_asks_about(self):
            return authenticate(request)

    def _get_user_asks(self) -> bool:
        """Return whether ``get_user`` is one of ours, which ask the blacklist."""
        ours = (JWTAuthentication.get_user, JWTStatelessUserAuthentication.get_user)
        return getattr(self.get_user, "__func__", None) in ours

    @sensitive_variables()
    def get_validated_token(self, raw_token: bytes) -> Token:
        if len(raw_token) > MAX_TOKEN_BYTES:
            raise InvalidToken(_("Token is too long"))
        is_get_user_asking = is_left_to_caller(self)
        try:
            with caller_asks_about(raw_token):
                token = super().get_validated_token(raw_token)
        except ODD_CLAIM as error:
            raise InvalidToken from error
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
            raise InvalidToken(_(str(error))) from error

    def claims(self, token: Token) -> Claims:
        """Return the claims of a token, or of a mapping; 401 if one is malformed."""
        try:
            claims = token.claims if isinstance(token, RevocableToken) else Claims.of(token)
        except (TokenError, TokenMalformed) as error:
            raise InvalidToken(_(str(error))) from error
        return claims


class JWTAuthentication(ChecksBlacklist):
    """Authenticate by a token that is not revoked. One statement reads the user and checks it.

    A revoked token gets 401 in simplejwt's shape, whatever AUTH_TOKEN_CLASSES says. If the database
    can't be read, the answer is 503.
    """

    @sensitive_variables()
    def get_user(self, validated_token: Token) -> Any:
        claims = self.claims(validated_token)
        if not claims.user_id and claims.sid is None:
            raise InvalidToken(_("Token contained no recognizable user identification"))
        try:
            user = blacklist.user_of(claims)
            check_user(user, payload_of(validated_token))
        except DATABASE_ERRORS as error:
            raise unavailable() from error
        except TokenRevoked as error:
            raise InvalidToken(_(str(error))) from error
        except UserUnknown as error:
            raise AuthenticationFailed(_("User not found"), code="user_not_found") from error
        except UserInactive as error:
            raise AuthenticationFailed(_("User is inactive"), code="user_inactive") from error
        except PasswordChanged as error:
            raise AuthenticationFailed(_(str(error)), code="password_changed") from error
        return user


class JWTStatelessUserAuthentication(ChecksBlacklist, base.JWTStatelessUserAuthentication):
    """Authenticate by a token that is not revoked, without reading its user. One statement."""

    @sensitive_variables()
    def get_user(self, validated_token: Token) -> Any:
        self.check(self.claims(validated_token))
        return super().get_user(validated_token)
