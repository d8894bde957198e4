"""The answers of requests that fail."""

from collections.abc import Mapping, Sequence
from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema_field,
)
from rest_framework import serializers
from rest_framework.settings import api_settings

from ...exceptions import ClientReason

# What clients may have to tell apart. The codes of a 400 are those of the fields' validators.
CODES = [
    "authentication_failed",
    "bad_authorization_header",
    "csrf_failed",
    "error",
    "method_not_allowed",
    "no_active_account",
    "not_acceptable",
    "not_authenticated",
    "not_found",
    "not_supported",
    "password_changed",
    "permission_denied",
    "service_unavailable",
    "throttled",
    "token_not_valid",
    "unsupported_media_type",
    "user_changed",
    "user_inactive",
    "user_not_found",
]
REASONS = sorted(ClientReason)


def _enum(name: str, values: Sequence[str], description: str) -> Any:
    """Return a field whose values are a component.

    drf-spectacular would make one of a ChoiceField, too, and rename the enums that a project has
    for fields of the same name.
    """
    schema = {"type": "string", "enum": sorted(values), "description": description}
    field = type(name, (serializers.CharField,), {})
    return extend_schema_field(schema, component_name=name)(field)


_Code = _enum("TokenErrorCode", CODES, "What went wrong, for programs.")
_Reason = _enum("TokenErrorReason", REASONS, "Why a token with a valid signature is refused.")


class TokenErrorSerializer(serializers.Serializer[Any]):
    """Why the request was refused."""

    detail = serializers.CharField(help_text="What went wrong, for people.")
    code = _Code()
    reason = _Reason(required=False)


class TokenRefusedSerializer(serializers.Serializer[Any]):
    """Why the request was refused. Which errors have a code depends on the view."""

    detail = serializers.CharField(help_text="What went wrong, for people.")
    code = _Code(required=False)
    reason = _Reason(required=False)


class TokenOAuthErrorSerializer(TokenErrorSerializer):
    """Why the request was refused, for clients of OAuth 2.0 as well."""

    error = serializers.CharField(help_text="The code of OAuth 2.0 (RFC 6749, section 5.2).")
    code = serializers.CharField(help_text="What went wrong, for programs.")


class TokenCursorErrorsSerializer(serializers.Serializer[Any]):
    """What is wrong with the cursor."""

    detail = serializers.CharField(help_text="The first of the messages.")
    code = serializers.CharField(help_text="The code of the first message.")
    since = serializers.ListField(child=serializers.CharField(), required=False)


def field_errors(name: str, request: Any) -> type[serializers.Serializer[Any]]:
    """Return the answer to a body that the serializer ``request`` refuses, as a serializer.

    It is called ``name``, and has a list of messages for each field that clients send.
    """
    sent = [
        key
        for key, field in request.fields.items()
        if not field.read_only and not isinstance(field, serializers.HiddenField)
    ]
    fields: dict[str, Any] = {"__doc__": "What is wrong with the body."}
    fields["detail"] = serializers.CharField(help_text="The first of the messages.")
    fields["code"] = serializers.CharField(help_text="The code of the first message.")
    for key in [*sent, api_settings.NON_FIELD_ERRORS_KEY]:
        if key in ("detail", "code"):  # the messages, if there are some
            fields[key] = serializers.JSONField(help_text="The messages, or that of the first one.")
        else:
            fields[key] = _messages(request.fields.get(key))
    made = type(name, (serializers.Serializer,), fields)
    return set_override(made, "suppress_collision_warning", value=True)  # type: ignore[no-any-return]


def _messages(field: Any) -> Any:
    if isinstance(field, (serializers.BaseSerializer, serializers.ListField)):
        return serializers.JSONField(required=False)  # as deeply nested as what was sent
    return serializers.ListField(child=serializers.CharField(), required=False)


def error(
    description: str,
    *,
    code: str,
    detail: str,
    body: Any = TokenErrorSerializer,
    more: Mapping[str, Any] | None = None,
) -> OpenApiResponse:
    """Return an answer with one example, which has ``detail``, ``code`` and what ``more`` says."""
    example = OpenApiExample(code, value={**(more or {}), "detail": detail, "code": code})
    return OpenApiResponse(body, description, examples=[example])


def of_any_view(answer: OpenApiResponse) -> OpenApiResponse:
    """Return the same answer of a view that is not ours: of DRF's own errors, few have a code."""
    return OpenApiResponse(TokenRefusedSerializer, answer.description, answer.examples)


REFUSED = error(
    "There is no token, or it is not accepted: it has expired, was revoked or is forged, or its"
    " user may not log in any more. Refresh it, or log in again.",
    code="token_not_valid",
    detail="Token is blacklisted",
)
FORGED = error(
    "The request is forged, or a browser sent no CSRF token: a cookie carries the token.",
    code="csrf_failed",
    detail="CSRF Failed: CSRF token missing.",
)
NO_RIGHT = error(
    "The caller may not ask about other people's tokens.",
    code="permission_denied",
    detail="You do not have permission to perform this action.",
)
UNSUPPORTED = error(
    "The body is neither JSON nor form data.",
    code="unsupported_media_type",
    detail='Unsupported media type "text/plain" in request.',
)
THROTTLED = error(
    "Too many requests. Try again after the number of seconds in `Retry-After`. Only if the"
    " service limits the rate.",
    code="throttled",
    detail="Request was throttled. Expected available in 17 seconds.",
)
UNAVAILABLE = error(
    "The database does not answer, so no token was accepted. Keep your tokens, and try again after"
    " the number of seconds in `Retry-After`.",
    code="service_unavailable",
    detail="Tokens can't be checked right now. Try again shortly.",
)
RETRY_AFTER = OpenApiParameter(
    "Retry-After",
    OpenApiTypes.INT,
    OpenApiParameter.HEADER,
    response=[429, 503],
    description="Seconds to wait before the next try.",
)
