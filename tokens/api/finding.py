"""Find the token of a request as the project does."""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.settings import api_settings as rest_framework
from rest_framework_simplejwt import authentication as base
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from ..claims import Claims
from ..exceptions import TokenMalformed
from ..jwt import RevocableToken, client_reason, token_for_logout
from .authentication import JWTAuthentication
from .reasons import with_reason

if TYPE_CHECKING:
    from rest_framework.views import APIView as View
else:
    View = object  # a mixin


def authentication_classes() -> list[type[JWTAuthentication]]:
    """Return the project's default authentication classes that are based on ours and read the user.

    If there is none, return ours.
    """
    classes: Any = rest_framework.DEFAULT_AUTHENTICATION_CLASSES
    named = [
        one
        for one in classes
        if issubclass(one, JWTAuthentication)
        and not issubclass(one, base.JWTStatelessUserAuthentication)
    ]
    return named or [JWTAuthentication]


class OfProject:
    """The value of a view's ``authentication_classes`` that is ``authentication_classes()``."""

    def __get__(self, view: object, owner: type) -> list[type[JWTAuthentication]]:
        return authentication_classes()


class FindsForLogout(View):
    """A view that judges the token by itself, and takes one that has expired or is revoked."""

    authentication_classes: Any = OfProject()

    def get_authenticators(self) -> list[Any]:
        """Let throttles and permissions know the user of a good token, and refuse nobody."""
        return [_optional(one)() for one in self.authentication_classes]

    def perform_authentication(self, request: Request) -> None:
        """Leave it to throttles and permissions: without any, it would cost a statement."""

    def find(self, request: Request) -> Claims | None:
        """Return the claims of the token that the view's classes find; None if there is none.

        Raises what ``find_for_logout`` does.
        """
        return find_for_logout(request, self.authentication_classes)


def find_for_logout(request: Request, classes: Iterable[Any]) -> Claims | None:
    """Return the claims of the token that the classes find; None if there is none.

    The token may have expired or be revoked. Raises what the classes raise: 401 for a token that
    is forged or of the wrong type, or 403 if a class demands more, such as a CSRF token.
    """
    refusal: Exception | None = None
    for one in classes:
        try:
            found = _logging_out(one)().authenticate(request)
            if found is not None and found[1] is not None:
                return _claims_of(found[1])
        except APIException as error:
            refusal = refusal or error
        except (TokenError, TokenMalformed) as error:  # a class may make the token by itself
            refusal = refusal or InvalidToken(_(str(error)))
    if refusal is not None:
        raise refusal
    return None


def _claims_of(token: Token) -> Claims:
    return token.claims if isinstance(token, RevocableToken) else Claims.of(token)


@cache
def _logging_out(cls: Any) -> Any:
    if not issubclass(cls, base.JWTAuthentication):
        return cls
    return type(cls.__name__, (_LoggingOut, cls), {})


@cache
def _optional(cls: Any) -> Any:
    """Return a class of authentication that finds nobody if ``cls`` refuses."""
    return type(cls.__name__, (_Optional, cls), {})


class _Optional(BaseAuthentication):
    def authenticate(self, request: Request) -> Any:
        try:
            return super().authenticate(request)
        except (APIException, TokenError, TokenMalformed):
            return None


class _LoggingOut(JWTAuthentication):
    """Judge the token that a class of the project finds as logging out does."""

    def get_validated_token(self, raw_token: bytes) -> Token:
        types = [token.token_type for token in api_settings.AUTH_TOKEN_CLASSES]
        try:
            return token_for_logout(raw_token, types=types)
        except TokenError as error:
            reason = client_reason(raw_token, error)
            raise with_reason(InvalidToken(error.args[0]), reason) from error

    def get_user(self, validated_token: Token) -> Any:
        # Logging out needs no user. A class of the project may look at theirs.
        return SimpleLazyObject(lambda: super(_LoggingOut, self).get_user(validated_token))
