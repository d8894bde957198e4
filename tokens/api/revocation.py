"""Let anybody who holds a token revoke it (RFC 7009)."""

from typing import Any

from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError

from .. import sessions
from ..jwt import signed_token, takes_type
from .oauth import OAuthView, UnsupportedTokenType


class RevokeView(OAuthView):
    """Revoke a token and end its session, as logging out does (RFC 7009).

    The token is the proof: whoever has it may revoke it, even if it has expired. A token that is
    unknown, forged or revoked already needs no revocation, so the answer is 200 as well.
    """

    throttle_scope = "tokens_logout"

    @sensitive_variables()
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            token = signed_token(self.token_in(request))
        except TokenError:
            return Response()
        if not takes_type(token.payload):
            raise UnsupportedTokenType
        sessions.end(token.claims)
        return Response()
