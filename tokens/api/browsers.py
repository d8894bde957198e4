"""What the endpoints do for browsers: tokens travel in cookies, and forged requests are refused."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.middleware.csrf import rotate_token
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings

from .. import sessions
from ..claims import Claims
from ..conf import REFRESH, conf
from ..jwt import claims_for_logout, refresh_token_class
from ..log import logger
from . import cookies, csrf
from .errors import DATABASE_ERRORS

if TYPE_CHECKING:
    from rest_framework_simplejwt.views import TokenViewBase as View
else:
    View = object  # a mixin


def every(claims: Claims) -> bool:
    return True


@sensitive_variables()
def _end_replaced(request: Request) -> None:
    """End the session whose refresh cookie the answer replaces: the browser could not any more.

    A cookie that is no token of ours has none. If the database fails, the session stays until it
    expires, because the login is committed already.
    """
    token = cookies.carried(request, REFRESH)
    if token is None:
        return
    try:
        with suppress(TokenError):
            sessions.end(claims_for_logout(token, types=[refresh_token_class().token_type]))
    except DATABASE_ERRORS:
        logger.exception(
            "a login replaced a cookie, and its session could not be ended",
            extra={"event": "replaced_session_left"},
        )


class AnswersBrowsers(View):
    """Tell browsers the CSRF token, if any token is in a cookie, and delete cookies that ended."""

    ended: Callable[[Claims], bool] | None = None  # which tokens, by this request
    in_cookies = False  # whether the tokens of this request travel in cookies

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        if conf.TOKENS_COOKIES:
            if self.in_cookies or cookies.is_from_browser(request):
                csrf.tell(request, response)
            if self.ended is not None:
                cookies.forget(request, response, self.ended)
        return super().finalize_response(request, response, *args, **kwargs)


class UsesCookies(AnswersBrowsers):
    """Move the tokens of the answer into cookies, if the request is one for which this holds.

    Whoever sends such a request must pass Django's CSRF check.
    """

    def uses_cookies(self, request: Request) -> bool:
        """Return whether the tokens of this request and its answer travel in cookies.

        If not, they travel in bodies, and the request needs no CSRF token.
        """
        raise NotImplementedError

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "POST" and self.uses_cookies(request):
            self.in_cookies = True
            csrf.enforce(request)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        if self.in_cookies and status.is_success(response.status_code):
            cookies.move(request, response)
        return super().finalize_response(request, response, *args, **kwargs)


class LogsInByCookie(UsesCookies):
    """Log in by cookies, if TOKENS_COOKIES has any, unless a client that is no browser objects.

    It does so by the header ``X-Tokens-In: body``, and needs no CSRF token then.

    In front of APIView it does so for a login view of a project, whose answers have ``refresh`` and
    ``access``.
    """

    def uses_cookies(self, request: Request) -> bool:
        return bool(conf.TOKENS_COOKIES) and not cookies.wants_body(request)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        if self.in_cookies and status.is_success(response.status_code):
            rotate_token(request)  # as Django's own login does
            _end_replaced(request)
        return super().finalize_response(request, response, *args, **kwargs)


class TakesRefreshCookie(UsesCookies):
    """Take the refresh token from its cookie if the body has none.

    The successor of a token goes back the way the token came. So a script of the page can't make
    the endpoint tell what is in the cookie.
    """

    def uses_cookies(self, request: Request) -> bool:
        if cookies.carried(request, REFRESH) is None:
            return False
        data: Any = request.data
        return isinstance(data, Mapping) and not data.get(REFRESH)

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        if self.in_cookies and "data" in kwargs:
            token = cookies.carried(self.request, REFRESH)
            kwargs["data"] = {**dict(kwargs["data"].items()), REFRESH: token}
        return super().get_serializer(*args, **kwargs)

    def handle_exception(self, exc: Exception) -> Response:
        if self.in_cookies and getattr(exc, "status_code", None) == status.HTTP_401_UNAUTHORIZED:
            self.ended = every
        return super().handle_exception(exc)


class EndsRefreshCookie(TakesRefreshCookie):
    """Take the refresh token from its cookie, and delete the cookies if that succeeds."""

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        if self.in_cookies and status.is_success(response.status_code):
            self.ended = every
        return super().finalize_response(request, response, *args, **kwargs)


class LogsOutByCookie(TakesRefreshCookie):
    """Take the refresh token from its cookie if neither the body nor a header has a token."""

    def uses_cookies(self, request: Request) -> bool:
        if api_settings.AUTH_HEADER_NAME in request.META:
            return False
        try:
            return super().uses_cookies(request)
        except APIException:  # there is a cookie, and the body can't be read
            return True
