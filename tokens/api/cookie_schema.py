"""What drf-spectacular says about cookies: two more ways to authenticate."""

from typing import Any

from rest_framework.authentication import BaseAuthentication

from ..conf import ACCESS, REFRESH, conf
from . import cookies
from .browsers import TakesRefreshCookie

HEADER, ACCESS_COOKIE, REFRESH_COOKIE = "jwtAuth", "accessCookie", "refreshCookie"


def scheme(kind: str) -> dict[str, str]:
    """Return the security scheme of the cookie for ``kind``; it needs a CSRF token as well."""
    return {
        "type": "apiKey",
        "in": "cookie",
        "name": cookies.name(kind),
        "description": "Only browsers use it. Unsafe methods need Django's CSRF token, too.",
    }


def names() -> list[str]:
    """Return the names of what opens endpoints: the header and, if there is one, the cookie."""
    return [HEADER, ACCESS_COOKIE] if ACCESS in conf.TOKENS_COOKIES else [HEADER]


class RefreshCookie(BaseAuthentication):
    """Stands for the cookie in the schema. No view uses it."""


def show(view: Any, described: Any) -> None:
    """Let ``described``, which stands for ``view`` in the schema, show that it takes the cookie."""
    if REFRESH in conf.TOKENS_COOKIES and issubclass(view, TakesRefreshCookie):
        shown = [one() for one in (*view.authentication_classes, RefreshCookie)]
        described.get_authenticators = lambda self: shown
