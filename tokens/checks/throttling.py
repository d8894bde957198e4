"""Logins that nothing limits, or only seems to."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.urls import get_resolver

from .protection import routes

if TYPE_CHECKING:
    from ..api.limits import Limits

# Packages that limit logins in their own way: apps, or modules that a project's code imports.
_PACKAGES = ("axes", "defender", "django_ratelimit", "ratelimit", "ratelimitbackend")

# Caches that count for one process alone, or not at all.
_LONELY = {
    "DummyCache": "nothing is counted",
    "LocMemCache": "each process counts by itself, and begins anew when it restarts",
}

_PAGE = "docs/howto/throttle.md says how."


@register(Tags.security, deploy=True)
def check_throttles(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each URL at which passwords can be guessed as fast as one likes.

    Or faster than the rate says: its count is not shared, or clients name their own address.
    """
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    from ..api.limits import of_login

    patterns = get_resolver().url_patterns  # loads what the project's views import
    if any(apps.is_installed(name) or name in sys.modules for name in _PACKAGES):
        return []
    return [
        message
        for route, view in routes(patterns)
        if (limits := of_login(view)) is not None
        for message in _messages(route, limits)
    ]


def _messages(route: str, limits: "Limits") -> Iterator[CheckMessage]:
    if not limits.are_there:
        yield checks.Warning(
            f"Nothing limits how often somebody may guess passwords at the URL {route!r}.",
            hint='Give the scope tokens_login a rate in REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"],'
            ' and put "rest_framework.throttling.ScopedRateThrottle" into'
            ' REST_FRAMEWORK["DEFAULT_THROTTLE_CLASSES"]; or use django-axes.'
            f" {_PAGE} If your proxy limits logins, silence this check.",
            id="tokens.W060",
        )
    if limits.caches and limits.caches <= set(_LONELY):
        kind = min(limits.caches)
        yield checks.Warning(
            f"The rate that limits logins at the URL {route!r} is counted in {kind}:"
            f" {_LONELY[kind]}.",
            hint="Let CACHES name a cache that all processes share, such as Redis, Memcached or"
            f" Django's DatabaseCache. {_PAGE} If there is one process, silence this check.",
            id="tokens.W061",
        )
    if limits.by_header:
        yield checks.Warning(
            f"The rate that limits logins at the URL {route!r} counts by a header that clients"
            " write themselves: with another X-Forwarded-For each time, nobody reaches it.",
            hint='Set REST_FRAMEWORK["NUM_PROXIES"] to the number of your proxies, 0 if there are'
            f" none. {_PAGE}",
            id="tokens.W062",
        )
