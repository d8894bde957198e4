"""Cookies that more sites can use than should, or that no browser can use."""

import re
from collections.abc import Collection, Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.urls import get_resolver
from django.utils.module_loading import import_string

from ..conf import ACCESS, conf
from .protection import asks, authentication_classes, is_simplejwts, routes
from .values import simplejwt_setting


def kinds() -> Collection[str]:
    """Return TOKENS_COOKIES; nothing if it has no meaning, as another check says."""
    given: object = conf.TOKENS_COOKIES
    return given if isinstance(given, tuple | list | set) else ()


@register(Tags.security)
def check_domain(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if hosts beside the project's own get the cookies."""
    domain = conf.TOKENS_COOKIE_DOMAIN
    if not kinds() or not isinstance(domain, str):
        return []
    parent = f".{domain.removeprefix('.')}"
    below = [host for host in settings.ALLOWED_HOSTS if host == "*" or host.endswith(parent)]
    if not below:
        return []
    return [
        checks.Warning(
            f"All subdomains of {parent[1:]} get the tokens' cookies, and not only {below[0]}.",
            hint="Remove TOKENS_COOKIE_DOMAIN, unless you trust each of these hosts with its users'"
            " tokens. Without it, only the host that sets a cookie gets it.",
            id="tokens.W050",
        )
    ]


ANY_SITE = "https://of-somebody-else.invalid"


@register(Tags.security)
def check_cors(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if django-cors-headers lets every site use the cookies."""
    if not kinds() or not getattr(settings, "CORS_ALLOW_CREDENTIALS", False):
        return []
    return [
        checks.Warning(
            f"CORS_ALLOW_CREDENTIALS is on, and {name} lets every site in: each page that a user"
            " visits can send the cookies and read the answers.",
            hint='Name your own origins: CORS_ALLOWED_ORIGINS = ["https://app.example.com"].',
            id="tokens.W051",
        )
        for name in _settings_for_any_site()
    ]


def _settings_for_any_site() -> list[str]:
    names = ["CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL"]  # the second is an older name
    found = [name for name in names if getattr(settings, name, False)]
    for name in ("CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ORIGIN_REGEX_WHITELIST"):
        patterns = getattr(settings, name, ())
        found += [name for one in patterns if re.match(one, ANY_SITE)][:1]
    return found


@register(Tags.security)
def check_csrf(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if nothing hands out CSRF tokens, so that no browser can log in."""
    from django.middleware.csrf import CsrfViewMiddleware

    if not kinds() or any(
        isinstance(one, type) and issubclass(one, CsrfViewMiddleware)
        for one in map(import_string, settings.MIDDLEWARE)
    ):
        return []
    return [
        checks.Warning(
            "TOKENS_COOKIES is on, and MIDDLEWARE has no CsrfViewMiddleware: browsers get no CSRF"
            " token, so the endpoints answer 403 to them.",
            hint='Add "django.middleware.csrf.CsrfViewMiddleware" to MIDDLEWARE.',
            id="tokens.W052",
        )
    ]


@register(Tags.urls)
def check_parts_without_cookies(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each part of the project that does not know the cookies."""
    if not kinds():
        return []
    return [
        checks.Warning(
            f"{found} does not know TOKENS_COOKIES: {so}.",
            hint='Serve browsers by "tokens.urls" or the views in tokens.api.views, with access and'
            " refresh tokens, and authenticate them by the classes in tokens.api.authentication."
            " If only other clients use this, silence the warning.",
            id="tokens.W053",
        )
        for found, so in (*_their_views(), *_sliding_tokens(), *_their_authentication())
    ]


def _their_views() -> Iterator[tuple[str, str]]:
    from ..api.views import serializer_of_simplejwts_view

    urls = get_resolver().url_patterns if getattr(settings, "ROOT_URLCONF", None) else ()
    for route, view in routes(urls):
        if serializer_of_simplejwts_view(view) is not None:
            yield f"simplejwt's view at the URL {route!r}", "its tokens travel in bodies"


def _sliding_tokens() -> Iterator[tuple[str, str]]:
    for path in simplejwt_setting("AUTH_TOKEN_CLASSES", ()):
        if getattr(import_string(path), "token_type", None) == "sliding":
            yield f'{path} in SIMPLE_JWT["AUTH_TOKEN_CLASSES"]', "sliding tokens travel in bodies"


def _their_authentication() -> Iterator[tuple[str, str]]:
    classes = [import_string(path) for path in authentication_classes()]
    theirs = [one for one in classes if is_simplejwts(one)]
    if ACCESS in kinds() and theirs and not any(asks(one) for one in classes):
        path = f"{theirs[0].__module__}.{theirs[0].__qualname__}"
        yield (
            f"{path} in DEFAULT_AUTHENTICATION_CLASSES",
            "the access cookie opens no view",
        )


@register(Tags.security, deploy=True)
def check_secure(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if the cookies travel without TLS."""
    if not kinds() or conf.TOKENS_COOKIE_SECURE:
        return []
    return [
        checks.Warning(
            "TOKENS_COOKIE_SECURE is False, so tokens travel over plain HTTP, where anybody on the"
            " way can read them.",
            hint="Remove TOKENS_COOKIE_SECURE: the cookies are Secure unless DEBUG is on.",
            id="tokens.W054",
        )
    ]
