"""Schema details that drf-spectacular can't infer. Imported only if it is installed."""

from typing import Any

from drf_spectacular.contrib import rest_framework_simplejwt as base
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers

OURS = "tokens.api.serializers."


class ErrorSerializer(serializers.Serializer[Any]):
    detail = serializers.CharField()
    code = serializers.CharField()


ERRORS = {
    400: OpenApiResponse(ErrorSerializer, "The request is incomplete or not valid JSON."),
    401: OpenApiResponse(ErrorSerializer, "Wrong password, or the token is not accepted."),
    429: OpenApiResponse(ErrorSerializer, "Too many requests, if the project has a rate."),
    503: OpenApiResponse(ErrorSerializer, "The database does not answer. Try again."),
}


UNSUPPORTED = OpenApiResponse(ErrorSerializer, "The body is neither JSON nor form data.")
NOT_FOUND = OpenApiResponse(ErrorSerializer, "No such session or page.")


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
        errors: dict[int, Any] = {}
        options: dict[str, Any] = {}
        if view in (views.LogoutView, views.SessionDetailView):
            success = {204: OpenApiResponse(description="Logged out, now or earlier.")}
        if view in (views.TokenVerifyView, views.TokenBlacklistView):
            success = {200: OpenApiResponse(OpenApiTypes.OBJECT, "An empty object.")}
        if view in (views.SessionListView, views.SessionDetailView):
            errors[404] = NOT_FOUND
        if not issubclass(view, views.SignedInView):
            errors[415] = UNSUPPORTED
        if view is views.LogoutView:
            options["auth"] = [{"jwtAuth": []}, {}]
        if view in (views.LogoutAllView, views.LogoutOthersView):
            options["request"] = None
        if view is views.SessionListView:
            success = {200: view.serializer_class(many=True)}
        return extend_schema(responses=success | ERRORS | errors, **options)(described)
