"""Schema details that drf-spectacular can't infer. Imported only if it is installed."""

from typing import Any

from drf_spectacular.contrib import rest_framework_simplejwt as base
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers

OURS = "tokens.api.serializers."


class ErrorSerializer(serializers.Serializer[Any]):
    detail = serializers.CharField()
    code = serializers.CharField()


ERRORS = {
    400: OpenApiResponse(ErrorSerializer, "The request is incomplete or not valid JSON."),
    401: OpenApiResponse(ErrorSerializer, "Wrong password, or the token is not accepted."),
    503: OpenApiResponse(ErrorSerializer, "The database does not answer. Try again."),
}


class TokenObtainPairSerializerExtension(base.TokenObtainPairSerializerExtension):
    target_class = OURS + "TokenObtainPairSerializer"


class TokenObtainSlidingSerializerExtension(base.TokenObtainSlidingSerializerExtension):
    target_class = OURS + "TokenObtainSlidingSerializer"


class TokenRefreshSerializerExtension(base.TokenRefreshSerializerExtension):
    target_class = OURS + "TokenRefreshSerializer"


class TokenVerifySerializerExtension(base.TokenVerifySerializerExtension):
    target_class = OURS + "TokenVerifySerializer"


class JWTScheme(base.SimpleJWTScheme):
    target_class = "tokens.api.authentication.ChecksBlacklist"
    match_subclasses = True


class TokenViewExtension(OpenApiViewExtension):
    """Add the errors that every endpoint shares."""

    target_class = "tokens.api.views.TokenView"
    match_subclasses = True

    def view_replacement(self) -> Any:
        from . import views  # they need the package, which needs this module

        view: Any = self.target
        described = type(view.__name__, (view,), {})
        success: dict[int, Any] = {200: view.serializer_class}
        options: dict[str, Any] = {}
        if view in (views.LogoutView, views.SessionDetailView):
            success = {204: OpenApiResponse(description="Logged out, now or earlier.")}
        if view is views.LogoutView:
            options["auth"] = [{"jwtAuth": []}, {}]
        if view in (views.LogoutAllView, views.LogoutOthersView):
            options["request"] = None
        if view is views.SessionListView:
            success = {200: view.serializer_class(many=True)}
        return extend_schema(responses=success | ERRORS, **options)(described)
