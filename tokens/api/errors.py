"""Error answers that simplejwt does not have."""

from typing import Any

from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import DetailDictMixin

from ..log import logger


class BlacklistUnavailable(DetailDictMixin, APIException):
    """The blacklist can't be read or written, so no token is accepted.

    Answers 503 with Retry-After, as RFC 7009 (section 2.2.1) says: the client must assume that its
    token still exists.
    """

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _(  # type: ignore[assignment]
        "Tokens can't be checked right now. Try again shortly."
    )
    default_code = "service_unavailable"
    wait = 1  # seconds; DRF sends it as Retry-After


DATABASE_ERRORS = (DatabaseError, InterfaceError)


def unavailable() -> BlacklistUnavailable:
    """Log the database error that is being handled, and return the exception to raise."""
    logger.exception("the database does not answer: no token can be checked")
    return BlacklistUnavailable()


def with_code(response: Response) -> Response:
    """Add simplejwt's top-level ``detail`` and ``code`` to an error answer that lacks them."""
    if not isinstance(response.data, dict):
        response.data = {"errors": response.data}
    first = _first(response.data)
    response.data.setdefault("detail", first)
    response.data.setdefault("code", getattr(first, "code", None) or "error")
    return response


def _first(errors: Any) -> ErrorDetail | str:
    """Return the first message in a DRF error answer, however deeply nested."""
    if isinstance(errors, dict) and errors:
        return _first(errors.get("detail") or next(iter(errors.values())))
    if isinstance(errors, list) and errors:
        return _first(errors[0])
    return errors if isinstance(errors, str) else str(errors)
