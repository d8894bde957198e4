"""Tokens of any type: those that somebody asks about, and those that log out."""

from collections.abc import Sequence
from typing import Any, cast

from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt import tokens as base
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.settings import api_settings

from ..claims import REFRESH, Claims, type_of
from ..conf import simplejwt
from ..exceptions import TokenMalformed
from . import asking, backends
from .backends import ODD_CLAIM
from .classes import RefreshToken
from .revocable import MAX_TOKEN_BYTES, RevocableToken


class AnyToken(RevocableToken, base.UntypedToken):
    """A token of any type; the rule for its own type decides, and so do the keys of its class."""

    _decides: Any = None

    def get_token_backend(self) -> Any:
        """Return the backend of the class that makes tokens of this type.

        Raises TokenError if another class has signed the token.
        """
        usual, raw = super().get_token_backend(), cast("str | bytes | None", self.token)
        if self._decides is None and raw is not None:
            try:
                self._decides = backends.deciding(raw, _typed_classes(), others=usual)
            except TokenBackendError as error:
                raise TokenError(_("Token is invalid")) from error
        return self._decides or usual

    def verify_token_type(self) -> None:
        if not isinstance(type_of(self.payload), str):
            raise TokenError(_("Token has no type"))

    def _ask(self, claims: Claims) -> None:
        ask = asking.about_refresh if is_refresh(self) else asking.about_access
        ask(claims, self.payload)


def is_refresh(token: RevocableToken) -> bool:
    """Return whether the token is one to refresh with, by its type."""
    return bool(type_of(token.payload) == REFRESH)


def refresh_token_class() -> Any:
    """Return the class of refresh tokens: that of TOKEN_REFRESH_SERIALIZER, if it is like ours."""
    from .patch import patched  # which needs this module

    serializer = import_string(api_settings.TOKEN_REFRESH_SERIALIZER)
    named = patched(getattr(serializer, "token_class", RefreshToken))
    return named if issubclass(named, RevocableToken) else RefreshToken


def _typed_classes() -> list[Any]:
    named = [refresh_token_class(), *api_settings.AUTH_TOKEN_CLASSES]
    return [kind for kind in named if not issubclass(kind, base.UntypedToken)]


@sensitive_variables()
def signed_token(raw: str | bytes) -> AnyToken:
    """Return a token that we signed, even if it has expired or was revoked.

    Raises TokenError if the signature is bad or a claim is odd.
    """
    if len(raw) > MAX_TOKEN_BYTES:
        raise TokenError(_("Token is too long"))
    token = AnyToken()
    token.token = raw  # type: ignore[assignment]
    try:
        token.payload = backends.decode_even_if_expired(token.get_token_backend(), raw)
    except (TokenBackendError, *ODD_CLAIM) as error:
        raise TokenError(_("Token is invalid")) from error
    token.claims  # noqa: B018 - raises TokenError if one is odd
    return token


@sensitive_variables()
def is_signed(raw: str | bytes) -> bool:
    """Return whether we signed a text, whatever its claims say.

    Its signature, algorithm, issuer and audience are right.
    """
    if len(raw) > MAX_TOKEN_BYTES:
        return False
    decode = backends.decode_if_signed
    usual = AnyToken().token_backend
    try:
        decode(backends.deciding(raw, _typed_classes(), others=usual, decode=decode), raw)
    except (TokenBackendError, *ODD_CLAIM):
        return False
    return True


@sensitive_variables()
def token_for_logout(raw: str | bytes, *, types: Sequence[str | None]) -> AnyToken:
    """Return ``signed_token`` if its type is in ``types``; raise TokenError if it is not.

    Logging out with an expired token still ends its session.
    """
    token = signed_token(raw)
    if simplejwt.TOKEN_TYPE_CLAIM is not None and type_of(token.payload) not in types:
        error = TokenMalformed(simplejwt.TOKEN_TYPE_CLAIM)
        raise TokenError(_("Token has wrong type")) from error
    return token


def claims_for_logout(raw: str | bytes, *, types: Sequence[str | None]) -> Claims:
    """Return the claims of ``token_for_logout``, and raise what it does."""
    return token_for_logout(raw, types=types).claims
