"""Protect what a cookie authenticates against forged requests, as Django does."""

from django.conf import settings
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.middleware.csrf import get_token
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import DetailDictMixin


class CSRFFailed(DetailDictMixin, PermissionDenied):
    """A cookie authenticates the request, and another site may have sent it. Answers 403."""

    default_detail = _("CSRF Failed.")  # type: ignore[assignment]
    default_code = "csrf_failed"


def enforce(request: Request | HttpRequest) -> None:
    """Raise CSRFFailed if Django REST framework's SessionAuthentication would refuse the request.

    The answer gets Django's CSRF cookie and, with it, ``Vary: Cookie``.
    """
    get_token(request)  # CsrfViewMiddleware sees that it was asked for
    try:
        SessionAuthentication().enforce_csrf(request)  # type: ignore[arg-type]
    except PermissionDenied as error:
        raise CSRFFailed(str(error.detail)) from error


def tell(request: Request, response: Response) -> None:
    """Put the CSRF token into a header of the answer.

    A page of another origin can't read the cookie, but this header, if your CORS rules expose it.
    """
    name = HttpHeaders.parse_header_name(settings.CSRF_HEADER_NAME)
    response[name or settings.CSRF_HEADER_NAME] = get_token(request)
