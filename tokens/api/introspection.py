"""Let other services ask whether a token is accepted (RFC 7662)."""

from typing import Any

from django.views.decorators.debug import sensitive_variables
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from ..jwt import Accepted, accepted
from .callers import CallerView, may_see_users
from .oauth import OAuthView

# Members that RFC 7662 defines and that say what the token itself says.
_AS_IN_TOKEN = ("exp", "iat", "nbf", "iss", "aud", "scope", "client_id")


class IntrospectionSerializer(serializers.Serializer[Any]):
    """What is said of a token. If it is not accepted, that is all that is said."""

    active = serializers.BooleanField()
    token_type = serializers.CharField(required=False)
    sub = serializers.CharField(required=False)
    username = serializers.CharField(required=False)
    sid = serializers.CharField(required=False)
    jti = serializers.CharField(required=False)
    exp = serializers.IntegerField(required=False)
    iat = serializers.IntegerField(required=False)
    nbf = serializers.IntegerField(required=False)
    iss = serializers.CharField(required=False)
    aud = serializers.JSONField(required=False)
    scope = serializers.CharField(required=False)
    client_id = serializers.CharField(required=False)


class IntrospectView(CallerView, OAuthView):
    """Tell whether a token is accepted, by a request or by a refresh (RFC 7662).

    A token that is forged, expired, revoked, too long, of another type, or of a user who may not
    use it is not ``active``, and nothing says why. If the database does not answer, neither does
    this: 503, because a token that can't be checked is neither good nor bad. Check ``token_type``:
    a refresh token is active until it is used.
    """

    @sensitive_variables()
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        found = accepted(self.token_in(request))
        return Response({"active": False} if found is None else self.describe(found))

    def describe(self, token: Accepted) -> dict[str, Any]:
        """Return what is said of a token that is accepted. A subclass may say more, or less."""
        claims = token.claims
        said = {
            "active": True,
            "token_type": token.type,
            "sub": claims.user_id,
            "username": self.username(token),
            "sid": claims.sid,
            "jti": claims.jti,
            **{name: token.payload.get(name) for name in _AS_IN_TOKEN},
        }
        return {name: value for name, value in said.items() if value is not None}

    def username(self, token: Accepted) -> str | None:
        """Return the name of the token's user if the caller may see users, else None."""
        if token.user is None or not may_see_users(self.request.user):
            return None
        return str(token.user.get_username())
