"""The key ``reason`` beside ``detail`` and ``code``: why a token is refused."""

from collections.abc import Collection
from typing import Any, TypeVar

from django.views.decorators.debug import sensitive_variables
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError

from ..exceptions import ClientReason
from ..jwt import client_reason

KEY = "reason"

E = TypeVar("E", bound=APIException)

# On a TokenError: simplejwt's views make their answer of its message alone.
_REASON = "_tokens_client_reason"


def with_reason(error: E, reason: ClientReason | None) -> E:
    """Return ``error``, its answer with ``reason`` unless it has one already."""
    if reason is not None and isinstance(error.detail, dict):
        error.detail.setdefault(KEY, ErrorDetail(reason.value, code=reason.value))
    return error


def take_along(error: BaseException) -> None:
    """Let the answer that a view makes of a TokenError tell the reason. Call it before DRF does."""
    if isinstance(error, APIException) and isinstance(error.__cause__, TokenError):
        with_reason(error, getattr(error.__cause__, _REASON, None))


class explaining:  # noqa: N801 (callers see a function)
    """Look up the reason if what the block raises refuses the token ``text``."""

    # Not a generator: see ``jwt.caller_asks_about``.

    __slots__ = ("_text", "_types")

    def __init__(self, text: Any, *, types: Collection[str | None] = ()) -> None:
        self._text, self._types = text, types

    def __enter__(self) -> None:
        pass

    @sensitive_variables()
    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, TokenError):
            setattr(error, _REASON, client_reason(self._text, error, types=self._types))
        elif isinstance(error, AuthenticationFailed):
            with_reason(error, client_reason(self._text, error, types=self._types))
