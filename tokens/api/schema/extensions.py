"""Where drf-spectacular asks about our classes. What they import comes later.

These are registered while Django REST framework itself is being imported.
"""

from typing import Any

from drf_spectacular.contrib import rest_framework_simplejwt as base
from drf_spectacular.drainage import set_override
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiViewExtension,
)

from ...conf import ACCESS, REFRESH


class TokenView(OpenApiViewExtension):
    target_class = "tokens.api.views.TokenView"
    match_subclasses = True

    def view_replacement(self) -> Any:
        from .operations import described

        return described(self.target)


class Body(OpenApiSerializerExtension):
    """A serializer that has one component for requests and another one for answers."""

    match_subclasses = True

    def get_name(self, auto_schema: Any, direction: Any) -> str:
        from .bodies import component_name

        return component_name(self.target, direction)

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        from .bodies import component

        return component(self.target, auto_schema, direction)


class TokenBody(Body):
    target_class = "tokens.api.serializers.AsksBlacklist"


class LogoutBody(Body):
    target_class = "tokens.api.serializers.LogoutSerializer"


class SessionsEndedBody(Body):
    target_class = "tokens.api.serializers.SessionsEndedSerializer"


class SessionBody(Body):
    target_class = "tokens.api.serializers.SessionSerializer"


class TokenParameterBody(Body):
    target_class = "tokens.api.oauth.TokenParameterSerializer"


class IntrospectionBody(Body):
    target_class = "tokens.api.introspection.IntrospectionSerializer"


class RevocationsBody(Body):
    target_class = "tokens.api.revocations.RevocationsSerializer"


class JWTScheme(base.SimpleJWTScheme):
    """The header, and the cookie for access tokens if there is one."""

    target_class = "tokens.api.authentication.ChecksBlacklist"
    match_subclasses = True

    def __init__(self, target: Any) -> None:
        from .. import cookie_schema

        super().__init__(target)
        self.name: Any = cookie_schema.names()

    def get_security_requirement(self, auto_schema: Any) -> Any:
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> Any:
        from .. import cookie_schema

        # Several classes of a project may be based on ours, and all are described by this scheme.
        set_override(self.target_class, "suppress_collision_warning", value=True)
        return [super().get_security_definition(auto_schema), cookie_schema.scheme(ACCESS)]


class RefreshCookieScheme(OpenApiAuthenticationExtension):
    target_class = "tokens.api.cookie_schema.RefreshCookie"
    name = "refreshCookie"

    def get_security_requirement(self, auto_schema: Any) -> Any:
        return [{self.name: []}, {}]  # or the token is in the body

    def get_security_definition(self, auto_schema: Any) -> Any:
        from .. import cookie_schema

        return cookie_schema.scheme(REFRESH)
