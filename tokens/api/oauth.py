"""What the endpoints of OAuth 2.0 (RFC 7009, RFC 7662) share: one token in a form, errors in JSON.

OAuth wants ``error``, and simplejwt's clients look for ``detail`` and ``code``; errors have all.
"""

from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from .views import TokenView


class OAuthError(APIException):
    """A request that OAuth 2.0 answers with 400 and one of its error codes."""

    status_code = status.HTTP_400_BAD_REQUEST

    def __init__(self) -> None:
        code = self.default_code
        super().__init__({"error": code, "detail": self.default_detail, "code": code})


class InvalidRequest(OAuthError):
    default_detail = _("Send the token once, as the parameter token.")
    default_code = "invalid_request"


class UnsupportedTokenType(OAuthError):
    default_detail = _("Tokens of this type can't be revoked.")
    default_code = "unsupported_token_type"


class TokenParameterSerializer(serializers.Serializer[Any]):
    """The token in question. The hint changes no answer: a token says its own type."""

    token = serializers.CharField()
    token_type_hint = serializers.CharField(required=False)


class OAuthView(TokenView):
    """An endpoint that takes one token in a form, or in JSON, and answers JSON."""

    serializer_class = TokenParameterSerializer
    parser_classes = (FormParser, MultiPartParser, JSONParser)
    renderer_classes = (JSONRenderer,)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Answer JSON whatever the client would rather have: the standards know nothing else."""
        return super().perform_content_negotiation(request, force=True)

    @sensitive_variables()
    def token_in(self, request: Request) -> str:
        """Return the token that the request is about. Raises InvalidRequest."""
        data: Any = request.data
        values: list[Any] = [data.get("token")] if isinstance(data, dict) else []
        if isinstance(data, QueryDict):
            values = data.getlist("token")
        if len(values) != 1 or not isinstance(values[0], str) or not values[0]:
            raise InvalidRequest
        return values[0]

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if response.status_code in _ERRORS and isinstance(response.data, dict):
            response.data.setdefault("error", _ERRORS[response.status_code])
        return response


# RFC 6749, section 5.2, and RFC 6750, section 3.1
_ERRORS = {
    status.HTTP_400_BAD_REQUEST: "invalid_request",
    status.HTTP_401_UNAUTHORIZED: "invalid_client",
    status.HTTP_403_FORBIDDEN: "insufficient_scope",
    status.HTTP_415_UNSUPPORTED_MEDIA_TYPE: "invalid_request",
    status.HTTP_429_TOO_MANY_REQUESTS: "temporarily_unavailable",
    status.HTTP_503_SERVICE_UNAVAILABLE: "temporarily_unavailable",
}
