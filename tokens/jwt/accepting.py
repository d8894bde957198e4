"""Tell another service whether a token would be accepted, by a request or by a refresh."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt import tokens as base
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from ..claims import REFRESH, Claims, type_of
from ..conf import simplejwt
from ..exceptions import TokensError
from . import asking
from .any_type import refresh_token_class
from .backends import ODD_CLAIM
from .revocable import MAX_TOKEN_BYTES, RevocableToken


@dataclass(frozen=True)
class Accepted:
    """A token that would be accepted now.

    ``type`` is what it says of itself, or None if the project's tokens have no type. ``user`` is
    None if the token names no user, or if the project's requests don't read users.
    """

    claims: Claims
    payload: Mapping[str, Any]
    type: str | None
    user: AbstractBaseUser | None


@sensitive_variables()
def accepted(raw: str) -> Accepted | None:
    """Return a token that a request or a refresh would accept; None if neither would.

    The project's own token classes verify it. Takes one statement and writes nothing, so it does
    not use up a refresh token.
    """
    try:
        token = _verified(raw)
        claims = token.claims if isinstance(token, RevocableToken) else Claims.of(token)
        kind = type_of(token.payload)
        ask = asking.about_refresh if kind == REFRESH else asking.about_access
        user = ask(claims, token.payload)
    except (TokenError, TokensError):
        return None
    return Accepted(claims, token.payload, kind, user)


def takes_type(payload: Mapping[str, Any]) -> bool:
    """Return whether the project accepts tokens of this type, with a request or to refresh."""
    kinds = _classes()
    return (
        simplejwt.TOKEN_TYPE_CLAIM is None
        or type_of(payload) in {kind.token_type for kind in kinds}
        or any(issubclass(kind, base.UntypedToken) for kind in kinds)
    )


def _classes() -> list[Any]:
    return [*api_settings.AUTH_TOKEN_CLASSES, refresh_token_class()]


@sensitive_variables()
def _verified(raw: str) -> Token:
    """Return the token as the first class that takes it reads it; raise TokenError if none does.

    The blacklist has not been asked yet.
    """
    if len(raw) > MAX_TOKEN_BYTES:
        raise TokenError(_("Token is too long"))
    for kind in _classes():
        try:
            with asking.caller_asks_about(raw):
                token: Token = kind(raw)
        except (TokenError, *ODD_CLAIM):
            continue
        return token
    raise TokenError(_("Token is invalid"))
