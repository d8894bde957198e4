"""The endpoints. They write outside request transactions, so an answer means: committed."""

from typing import Any, cast

from django.db import connections, transaction
from django.db.models import QuerySet
from django.utils.decorators import method_decorator
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ParseError
from rest_framework.mixins import ListModelMixin
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt import views as base
from rest_framework_simplejwt.exceptions import DetailDictMixin, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings

from .. import sessions
from ..claims import SID_CLAIM
from ..jwt import RefreshToken, claims_for_logout
from ..models import TokenSession
from ..sessions import Reason
from . import serializers
from .authentication import JWTAuthentication
from .errors import DATABASE_ERRORS, unavailable, with_code


class NoTokenGiven(DetailDictMixin, APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = _(  # type: ignore[assignment]
        "Give a refresh token in the body or a token in the Authorization header."
    )
    default_code = "token_required"


@method_decorator(never_cache, name="dispatch")
class TokenView(base.TokenViewBase):
    """An endpoint about tokens: not cached, not in a request transaction, throttled by scope.

    A project's own serializer, named in ``SIMPLE_JWT``, is used if it is a subclass of ours.
    """

    throttle_scope = "tokens"

    def get_renderers(self) -> list[Any]:
        """Return the project's renderers but DRF's HTML form, which can't show every bad input."""
        renderers = super().get_renderers()
        plain = [one for one in renderers if not isinstance(one, BrowsableAPIRenderer)]
        return plain or [JSONRenderer()]

    serializer_setting: str | None = None

    def get_serializer_class(self) -> Any:
        if self.serializer_setting:
            named = import_string(getattr(api_settings, self.serializer_setting))
            if issubclass(named, serializers.AsksBlacklist):
                return named
        return super().get_serializer_class()

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, DATABASE_ERRORS):
            exc = unavailable()
        elif isinstance(exc, RecursionError):  # DRF's parser met a body of 100,000 brackets
            exc = ParseError()
        return with_code(super().handle_exception(exc))


# After a write DRF's error handling would roll a request transaction back, and a success would be
# answered before it is committed.
for _alias in connections:
    transaction.non_atomic_requests(using=_alias)(TokenView.dispatch)


class TokenObtainPairView(TokenView):
    """Log in with a user name and a password; answers an access and a refresh token."""

    serializer_class = serializers.TokenObtainPairSerializer
    serializer_setting = "TOKEN_OBTAIN_SERIALIZER"


class TokenRefreshView(TokenView):
    """Exchange a refresh token for a new access token, and with rotation a new refresh token."""

    serializer_class = serializers.TokenRefreshSerializer
    serializer_setting = "TOKEN_REFRESH_SERIALIZER"


class TokenVerifyView(TokenView):
    """Ask whether a token of any type would be accepted."""

    serializer_class = serializers.TokenVerifySerializer
    serializer_setting = "TOKEN_VERIFY_SERIALIZER"


class TokenBlacklistView(TokenView):
    """Log out with a refresh token, as simplejwt's endpoint of this name does."""

    serializer_class = serializers.TokenBlacklistSerializer
    serializer_setting = "TOKEN_BLACKLIST_SERIALIZER"


class LogoutView(TokenView):
    """Log out here: end the login that the given token belongs to.

    Takes a refresh token in the body or the token of the Authorization header, expired or not.
    """

    serializer_class = serializers.LogoutSerializer

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        types: list[str | None] = [RefreshToken.token_type]
        raw: str | bytes | None = serializer.validated_data.get("refresh")
        if raw is None:
            types = [token.token_type for token in api_settings.AUTH_TOKEN_CLASSES]
            raw = self._from_header(request)
        try:
            claims = claims_for_logout(raw, types=types)
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        sessions.end(claims)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _from_header(self, request: Request) -> bytes:
        authentication = JWTAuthentication()
        header = authentication.get_header(request)
        raw = authentication.get_raw_token(header) if header else None
        if raw is None:
            raise NoTokenGiven
        return raw


class SignedInView(TokenView):
    """An endpoint for somebody who is logged in, by the token of the Authorization header."""

    authentication_classes = (JWTAuthentication,)  # type: ignore[assignment]
    permission_classes = (IsAuthenticated,)  # type: ignore[assignment]

    def current_sid(self) -> str | None:
        """Return the id of the session that asks; None without a token that has one."""
        token: Any = self.request.auth
        return cast("str | None", token.get(SID_CLAIM)) if token else None


class LogoutAllView(SignedInView):
    """Log out everywhere: end all logins of the user, this one too."""

    serializer_class = serializers.SessionsEndedSerializer

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response({"sessions_ended": sessions.end_all(request.user)})


class LogoutOthersView(SignedInView):
    """Log out everywhere else: end all logins of the user but this one.

    Tokens of plain simplejwt, which belong to no session, can't be told apart: all are ended.
    """

    serializer_class = serializers.SessionsEndedSerializer

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        number = sessions.end_all(request.user, reason=Reason.LOGOUT_OTHERS, but=self.current_sid())
        return Response({"sessions_ended": number})


class SessionPagination(PageNumberPagination):
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200


class SessionListView(SignedInView, ListModelMixin):
    """List the logins of the user, the one used last first; ``current`` marks this one."""

    http_method_names = ("get", "head", "options")
    serializer_class = serializers.SessionSerializer
    pagination_class = SessionPagination

    def get_queryset(self) -> QuerySet[TokenSession]:
        return sessions.of_user(self.request.user)

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "current_sid": self.current_sid()}

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)


class SessionDetailView(SignedInView):
    """End one login of the user by the id of its session."""

    http_method_names = ("delete", "options")
    serializer_class = serializers.SessionSerializer

    def delete(self, request: Request, sid: str) -> Response:
        if not sessions.end_one(request.user, sid):
            raise NotFound(_("No such session."))
        return Response(status=status.HTTP_204_NO_CONTENT)


def serializer_of_simplejwts_view(view: type | None) -> type | None:
    """Return the serializer of a view of simplejwt that is none of ours; None for other views."""
    if view is None or not issubclass(view, base.TokenViewBase) or issubclass(view, TokenView):
        return None
    serializer: type = view().get_serializer_class()
    return serializer
