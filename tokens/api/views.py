"""The endpoints. They write outside request transactions, so an answer means "committed"."""

from typing import Any

from django.db import connections, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.mixins import ListModelMixin
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework_simplejwt import views as base
from rest_framework_simplejwt.exceptions import DetailDictMixin, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings

from .. import blacklist, databases, retry, sessions, users
from ..claims import Claims, sid_in
from ..jwt import claims_for_logout, client_reason, refresh_token_class
from ..models import TokenSession
from ..origin import used_by
from ..sessions import Reason
from . import browsers, reasons, serializers
from .client import client_of
from .errors import DATABASE_ERRORS, unavailable, with_code
from .finding import FindsForLogout, OfProject
from .hiding import hide_secrets
from .patch import patched
from .requests import AnyRequest
from .throttles import with_rates


class NoTokenGiven(DetailDictMixin, APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = _(  # type: ignore[assignment]
        "Send a refresh token in the body or a token in the Authorization header."
    )
    default_code = "token_required"


@method_decorator(never_cache, name="dispatch")
class TokenView(browsers.AnswersBrowsers, base.TokenViewBase):
    """An endpoint for tokens: not cached, not in a request transaction, throttled by scope.

    If its own scope has no rate, it has that of the scope ``tokens``, and if that has none, no
    limit. Logging out is limited only by a rate of ``tokens_logout``.

    Error reports show neither its parameters nor the variables of its frames.

    If ``SIMPLE_JWT`` names a serializer that is a subclass of ours, the view uses it.
    """

    throttle_scope = "tokens"

    @sensitive_variables()
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        hide_secrets(request)
        with used_by(client_of(request)):
            return super().dispatch(request, *args, **kwargs)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        return AnyRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def get_throttles(self) -> list[BaseThrottle]:
        return with_rates(super().get_throttles(), scope=self.throttle_scope)

    def get_renderers(self) -> list[Any]:
        """Return the project's renderers except DRF's HTML form, which fails on some bad input."""
        renderers = super().get_renderers()
        plain = [one for one in renderers if not isinstance(one, BrowsableAPIRenderer)]
        return plain or [JSONRenderer()]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Take the first renderer, as DRF does too, if the client does not care."""
        renderer = self.get_renderers()[0]
        cares = request.META.get("HTTP_ACCEPT", "*/*") != "*/*" or request.META.get("QUERY_STRING")
        if (
            cares
            or getattr(self, "format_kwarg", True)  # not set yet: see ``initial``
            or ";" in (renderer.media_type or ";")
            or type(self.get_content_negotiator()) is not DefaultContentNegotiation
        ):
            return super().perform_content_negotiation(request, force)
        return renderer, renderer.media_type

    serializer_setting: str | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answer 503 before anything is done if the blacklist's database is not supported."""
        databases.of(connections[blacklist.database()])
        super().initial(request, *args, **kwargs)

    def get_serializer_class(self) -> Any:
        if self.serializer_setting:
            named = patched(import_string(getattr(api_settings, self.serializer_setting)))
            if issubclass(named, serializers.AsksBlacklist):
                return named
        return super().get_serializer_class()

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, DATABASE_ERRORS):
            exc = unavailable()
        reasons.take_along(exc)
        return with_code(super().handle_exception(exc))


# In a request transaction, DRF's error handling would roll back what a view wrote before raising,
# and a success would be answered before it is committed.
for _alias in connections:
    transaction.non_atomic_requests(using=_alias)(TokenView.dispatch)


class TokenObtainPairView(browsers.LogsInByCookie, TokenView):
    """Log in with a user name and a password; get an access token and a refresh token."""

    serializer_class = serializers.TokenObtainPairSerializer
    throttle_scope = "tokens_login"
    serializer_setting = "TOKEN_OBTAIN_SERIALIZER"


class TokenRefreshView(browsers.TakesRefreshCookie, TokenView):
    """Exchange a refresh token for a new access token and, with rotation, a new refresh token."""

    serializer_class = serializers.TokenRefreshSerializer
    throttle_scope = "tokens_refresh"
    serializer_setting = "TOKEN_REFRESH_SERIALIZER"


class TokenVerifyView(TokenView):
    """Check whether a token of any type would be accepted."""

    serializer_class = serializers.TokenVerifySerializer
    serializer_setting = "TOKEN_VERIFY_SERIALIZER"


class TokenBlacklistView(browsers.EndsRefreshCookie, TokenView):
    """Log out with a refresh token, like simplejwt's endpoint of the same name."""

    serializer_class = serializers.TokenBlacklistSerializer
    throttle_scope = "tokens_logout"
    serializer_setting = "TOKEN_BLACKLIST_SERIALIZER"


class LogoutView(browsers.LogsOutByCookie, FindsForLogout, TokenView):
    """Log out here: end the session that the token belongs to.

    Send a refresh token in the body, or your token in the Authorization header. An expired token
    works too.
    """

    serializer_class = serializers.LogoutSerializer
    throttle_scope = "tokens_logout"

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            claims = self._claims_in_body(request)
        except APIException as refusal:
            # The body is of no use, so a token in the header counts, if there is one.
            found = self.find(request)
            if found is None:
                raise refusal from None
            claims = found
        sessions.end(claims)
        self.ended = claims.is_of_login
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _claims_in_body(self, request: Request) -> Claims:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if "refresh" not in serializer.validated_data:
            raise NoTokenGiven
        raw = serializer.validated_data["refresh"]
        try:
            return claims_for_logout(raw, types=[refresh_token_class().token_type])
        except TokenError as error:
            refusal = InvalidToken(error.args[0])
            raise reasons.with_reason(refusal, client_reason(raw, error)) from error


class SignedInView(TokenView):
    """An endpoint for a logged-in user, identified by the token in a header or a cookie.

    The project's default authentication classes find and judge it, if they are based on ours.
    """

    authentication_classes: Any = OfProject()
    permission_classes = (IsAuthenticated,)  # type: ignore[assignment]

    def current_sid(self) -> str | None:
        """Return the session id in the request's token, or None if there is none."""
        token: Any = self.request.auth
        return sid_in(token.payload) if token else None


class LogoutAllView(SignedInView):
    """Log out everywhere: end all sessions of the user, including this one."""

    serializer_class = serializers.SessionsEndedSerializer
    throttle_scope = "tokens_logout"

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        user: Any = request.user
        number = sessions.end_all(user)
        self.ended = lambda claims: users.is_named(user, claims)
        return Response({"sessions_ended": number})


class LogoutOthersView(SignedInView):
    """Log out everywhere else: end all sessions of the user except this one.

    Tokens without a session, such as those of plain simplejwt, can't be told apart: all are
    refused.
    """

    serializer_class = serializers.SessionsEndedSerializer
    throttle_scope = "tokens_logout"

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        number = sessions.end_all(request.user, reason=Reason.LOGOUT_OTHERS, but=self.current_sid())
        return Response({"sessions_ended": number})


class SessionPagination(PageNumberPagination):
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200


class SessionListView(SignedInView, ListModelMixin):
    """List the user's sessions, most recently used first; ``current`` marks this one."""

    http_method_names = ("get", "head", "options")
    serializer_class = serializers.SessionSerializer
    pagination_class = SessionPagination

    def get_queryset(self) -> QuerySet[TokenSession]:
        return sessions.of_user(self.request.user)

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "current_sid": self.current_sid()}

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return retry.lost_races(self.list)(request, *args, **kwargs)


class SessionDetailView(SignedInView):
    """End one of the user's sessions, given its id."""

    http_method_names = ("delete", "options")
    serializer_class = serializers.SessionSerializer
    throttle_scope = "tokens_logout"

    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if not sessions.end_one(request.user, kwargs["sid"]):
            raise NotFound(_("No such session."))
        self.ended = lambda claims: claims.sid == kwargs["sid"]
        return Response(status=status.HTTP_204_NO_CONTENT)


def serializer_of_simplejwts_view(view: Any) -> type | None:
    """Return the serializer of simplejwt's view in a URL pattern; None for ours and any other."""
    cls = getattr(view, "cls", None)
    if cls is None or not issubclass(cls, base.TokenViewBase) or issubclass(cls, TokenView):
        return None
    serializer: type = patched(cls(**view.initkwargs).get_serializer_class())
    return serializer
