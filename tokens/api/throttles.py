"""Which rate limits an endpoint."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle

SCOPE = "tokens"


def with_rates(throttles: Iterable[BaseThrottle], *, scope: str | None) -> list[BaseThrottle]:
    """Return the throttles, but without those that limit by scope and have no rate for ours.

    If ``scope`` has no rate, it has that of SCOPE. Each scope counts its own requests: wrong
    passwords must not keep a neighbour from logging out.
    """
    return [one for one in throttles if scope is None or _has_rate(one, scope)]


def _has_rate(throttle: Any, scope: str | None) -> bool:
    if not isinstance(throttle, ScopedRateThrottle) or throttle.scope_attr != "throttle_scope":
        return True
    for name in (scope, SCOPE):
        throttle.scope = name
        with suppress(ImproperlyConfigured):
            rate = throttle.get_rate()
            if rate is not None or name in throttle.THROTTLE_RATES:
                throttle.get_rate = lambda rate=rate: rate  # type: ignore[method-assign, misc]
                return True
    return False
