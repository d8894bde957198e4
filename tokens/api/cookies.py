"""The cookies in which browsers keep tokens: their names, attributes and paths.

A name says what the browser guarantees (RFC 6265bis, section 4.1.3): ``__Secure-`` that the cookie
was set over HTTPS, ``__Host-`` also that no other host has set it, which demands the path ``/``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, URLResolver, get_resolver
from django.urls.resolvers import LocalePrefixPattern
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError

from .. import clock
from ..claims import Claims
from ..conf import ACCESS, REFRESH, conf
from ..jwt import signed_token
from ..log import logger


def name(kind: str) -> str:
    """Return the name of the cookie for ``kind``, "access" or "refresh".

    Django hides it in error reports, because "token" is a part of it.
    """
    if not conf.TOKENS_COOKIE_SECURE:
        return f"tokens_{kind}"
    is_host_only = kind == ACCESS and conf.TOKENS_COOKIE_DOMAIN is None
    return f"__{'Host' if is_host_only else 'Secure'}-tokens_{kind}"


def carried(request: Request | HttpRequest, kind: str) -> str | None:
    """Return the token in the request's cookie; None if there is none or TOKENS_COOKIES has not."""
    if kind not in conf.TOKENS_COOKIES:
        return None
    return getattr(request, "COOKIES", {}).get(name(kind)) or None


def is_from_browser(request: Request | HttpRequest) -> bool:
    """Return whether a browser sent the request, or a client that wants to be treated like one.

    Browsers name the origin of each POST (Fetch standard), and no script can keep them from it. Any
    other client with a CSRF token keeps cookies, too.
    """
    signs = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", settings.CSRF_HEADER_NAME)
    return not request.META.keys().isdisjoint(signs)


def wants_body(request: Request | HttpRequest) -> bool:
    """Return whether a client that is no browser asks for its tokens in the body.

    No page can ask: a script that somebody smuggled into it would get them.
    """
    asked = request.META.get("HTTP_X_TOKENS_IN", "").strip().lower() == "body"
    return asked and not is_from_browser(request)


@sensitive_variables()
def move(request: Request, response: Response) -> None:
    """Move the tokens of an answer from its body into cookies."""
    if not isinstance(response.data, Mapping):
        return
    data = dict(response.data)
    for kind in conf.TOKENS_COOKIES:
        token = data.pop(kind, None)
        if token:
            _set(response, kind, str(token), _max_age(str(token)), request)
    response.data = data


@sensitive_variables()
def _max_age(token: str) -> int | None:
    """Return for how many seconds a token is valid; None, until the browser ends, if unreadable."""
    try:
        expires_at = signed_token(token).claims.expires_at
    except TokenError:  # the project's serializer makes tokens of a kind of its own
        return None
    return max(0, int((expires_at - clock.now()).total_seconds()))


def forget(
    request: Request, response: HttpResponseBase, is_ended: Callable[[Claims], bool]
) -> None:
    """Delete those cookies of the request whose tokens have ended; unreadable ones have, too."""
    for kind in conf.TOKENS_COOKIES:
        token = carried(request, kind)
        if token is not None and _has_ended(token, is_ended):
            _set(response, kind, "", 0, request)


@sensitive_variables()
def _has_ended(token: str, is_ended: Callable[[Claims], bool]) -> bool:
    try:
        return is_ended(signed_token(token).claims)
    except TokenError:
        return True


MOST_BYTES = 4096  # of a name and its value (RFC 6265bis)


def _set(
    response: HttpResponseBase, kind: str, value: str, max_age: int | None, request: Request
) -> None:
    samesite: Any = conf.TOKENS_COOKIE_SAMESITE
    size = len(name(kind)) + len(value)
    if size > MOST_BYTES:
        logger.error(
            "the %s token has too many claims for a cookie: browsers refuse more than %s bytes,"
            " and it has %s",
            kind,
            MOST_BYTES,
            size,
            extra={"event": "cookie_too_large"},
        )
    response.set_cookie(
        name(kind),
        value,
        max_age=max_age,
        path=path(request) if kind == REFRESH else "/",
        domain=conf.TOKENS_COOKIE_DOMAIN,
        secure=conf.TOKENS_COOKIE_SECURE,
        httponly=True,
        samesite=samesite,
    )


# Segments that a browser spells in one way only.
_PLAIN = re.compile(r"(?:/[\w.~@:+-]+)*/", re.ASCII)


def path(request: Request | HttpRequest) -> str:
    """Return the path of the refresh cookie: where the endpoints are included.

    It ends before the language of ``i18n_patterns``, which may change while a user is logged in,
    and before the first segment that a browser may spell in several ways.
    """
    if conf.TOKENS_COOKIE_PATH is not None:
        return conf.TOKENS_COOKIE_PATH
    whole: str = request.path
    prefix = whole[: len(whole) - len(_below_include(request))]
    plain = _PLAIN.match(prefix)
    return plain[0] if plain else "/"


def _below_include(request: Request | HttpRequest) -> str:
    """Return the part of the request's path that the innermost ``include`` has to resolve."""
    rest: str = request.path_info
    found: Any = get_resolver(getattr(request, "urlconf", None))
    while isinstance(found, URLResolver) and not isinstance(found.pattern, LocalePrefixPattern):
        matched = found.pattern.match(rest)
        if not matched:
            break
        rest = matched[0]
        found = next((one for one in found.url_patterns if _resolves(one, rest)), None)
    return rest


def _resolves(pattern: Any, path: str) -> bool:
    try:
        return pattern.resolve(path) is not None
    except Resolver404:
        return False
