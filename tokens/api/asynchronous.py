"""Authenticating in ``async def``: the prefix is Django's, the answers are the same."""

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework_simplejwt import authentication as base
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings

from ..conf import conf
from ..jwt import accepted_at_once, decodes_at_once, patched

# Whose code decides who a request comes from.
_AUTHENTICATING = (
    *("authenticate", "ask_once", "check", "claims", "get_header", "get_raw_token"),
    *("get_user", "get_validated_token"),
)


class AsyncAuthentication:
    """The methods with the prefix ``a`` of our authentication classes.

    Statements run where Django runs those of asynchronous code (``sync_to_async``), with the
    caller's context variables.
    """

    async def aauthenticate(self, request: HttpRequest | Request) -> Any:
        """Return what ``authenticate`` does: the user and the token, or None if there is none.

        Raises what ``authenticate`` does, exceptions that Django REST framework answers.
        """
        ours: Any = self
        return await sync_to_async(ours.authenticate)(request)

    @sensitive_variables()
    async def aauthenticate_token(self, raw: str | bytes) -> tuple[Any, Any]:
        """Return the user and the token with this text, in one statement.

        For what is no HTTP request, such as a websocket. Raises what ``authenticate`` does.
        """
        ours: Any = self

        @sensitive_variables()
        def find(_request: object) -> tuple[Any, Any]:
            token = ours.get_validated_token(raw)
            return ours.get_user(token), token

        found: tuple[Any, Any] = await sync_to_async(ours.ask_once)(find, None)
        return found


class AsyncStatelessAuthentication(AsyncAuthentication):
    """The same for the class that reads no user.

    Takes no thread if checks are cached, and the snapshot knows about the token.
    """

    @sensitive_variables()
    async def aauthenticate(self, request: HttpRequest | Request) -> Any:
        ours: Any = self
        if self._waits_for_nothing():
            header = ours.get_header(request)
            raw = None if header is None else ours.get_raw_token(header)
            if raw is None:
                return None
            if found := self._found_at_once(raw, request):
                return found
        return await super().aauthenticate(request)

    @sensitive_variables()
    async def aauthenticate_token(self, raw: str | bytes) -> tuple[Any, Any]:
        if self._waits_for_nothing() and (found := self._found_at_once(raw, None)):
            return found
        return await super().aauthenticate_token(raw)

    def _waits_for_nothing(self) -> bool:
        """Return whether checks are cached, and nothing of the project's may wait meanwhile."""
        from .authentication import JWTStatelessUserAuthentication  # which needs this module

        kind = type(self)
        return bool(
            conf.TOKENS_CHECK_MAX_AGE
            and all(
                getattr(kind, name) is getattr(JWTStatelessUserAuthentication, name)
                for name in _AUTHENTICATING
            )
            and all(decodes_at_once(patched(one)) for one in api_settings.AUTH_TOKEN_CLASSES)
        )

    @sensitive_variables()
    def _found_at_once(
        self, raw: str | bytes, request: HttpRequest | Request | None
    ) -> tuple[Any, Any] | None:
        """Return the user and the token, or None if the snapshot does not know about it."""
        ours: Any = self

        def find(_request: object) -> tuple[Any, Any] | None:
            token = ours.get_validated_token(raw)
            try:
                if not accepted_at_once(ours.claims(token)):
                    return None
            except TokenError as error:
                raise InvalidToken(str(error)) from error
            return base.JWTStatelessUserAuthentication.get_user(ours, token), token

        found: tuple[Any, Any] | None = ours.ask_once(find, request)
        return found
