"""Who is asking: simplejwt's authentication classes, and is the token revoked."""

from contextvars import ContextVar
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework_simplejwt import authentication as base
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from .. import blacklist
from ..claims import Claims
from ..exceptions import TokenMalformed, TokenRevoked, UserUnknown
from ..jwt import MAX_TOKEN_BYTES, ODD_CLAIM, deferred_question
from .errors import DATABASE_ERRORS, unavailable

# While one of our ``get_user`` is going to ask the blacklist, in the query for the user.
_get_user_asks: ContextVar[bool] = ContextVar("get_user_asks", default=False)


class ChecksBlacklist(base.JWTAuthentication):
    """Refuse every revoked token, whatever its class.

    Our ``get_user`` asks the blacklist. ``get_validated_token`` does where nobody else will: when
    it is called by itself, and in subclasses with a ``get_user`` of their own.
    """

    def authenticate(self, request: Request) -> Any:
        reset = _get_user_asks.set(getattr(self.get_user, "asks_blacklist", False))
        try:
            return super().authenticate(request)
        finally:
            _get_user_asks.reset(reset)

    def get_validated_token(self, raw_token: bytes) -> Token:
        if len(raw_token) > MAX_TOKEN_BYTES:
            raise InvalidToken(_("Token is too long"))
        try:
            with deferred_question():
                token = super().get_validated_token(raw_token)
        except ODD_CLAIM as error:
            raise InvalidToken from error
        if not _get_user_asks.get():
            self.check(self.claims(token))
        return token

    def check(self, claims: Claims) -> None:
        """Ask the blacklist by a statement of its own: 401 if the token is refused."""
        try:
            blacklist.check(claims)
        except DATABASE_ERRORS as error:
            raise unavailable() from error
        except TokenRevoked as error:
            raise InvalidToken(_(str(error))) from error

    def claims(self, token: Token) -> Claims:
        """Return the token's claims; 401 for malformed ones, or when it names no user."""
        try:
            claims = Claims.of(token)
        except TokenMalformed as error:
            raise InvalidToken(_(str(error))) from error
        if claims.user_id is None:
            raise InvalidToken(_("Token contained no recognizable user identification"))
        return claims


class JWTAuthentication(ChecksBlacklist):
    """Authenticate by a token that is not revoked, its user read and checked in one statement.

    Refuses every revoked token whatever AUTH_TOKEN_CLASSES says, with 401 and simplejwt's shape;
    503 when the database can't be read.
    """

    def get_user(self, validated_token: Token) -> Any:
        claims = self.claims(validated_token)
        try:
            user = blacklist.user_of(claims)
        except DATABASE_ERRORS as error:
            raise unavailable() from error
        except TokenRevoked as error:
            raise InvalidToken(_(str(error))) from error
        except UserUnknown as error:
            raise AuthenticationFailed(_("User not found"), code="user_not_found") from error
        if api_settings.CHECK_USER_IS_ACTIVE and not user.is_active:
            raise AuthenticationFailed(_("User is inactive"), code="user_inactive")
        if api_settings.CHECK_REVOKE_TOKEN:
            self._check_password(user, validated_token)
        return user

    get_user.asks_blacklist = True  # type: ignore[attr-defined]

    def _check_password(self, user: Any, token: Token) -> None:
        if token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
            raise AuthenticationFailed(
                _("The user's password has been changed."), code="password_changed"
            )


class JWTStatelessUserAuthentication(ChecksBlacklist, base.JWTStatelessUserAuthentication):
    """Authenticate by a token that is not revoked, without reading its user. One statement."""

    def get_user(self, validated_token: Token) -> Any:
        self.check(self.claims(validated_token))
        return super().get_user(validated_token)

    get_user.asks_blacklist = True  # type: ignore[attr-defined]
