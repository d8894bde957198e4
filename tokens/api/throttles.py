"""Which rate limits an endpoint."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle

SCOPE = "tokens"

# Nobody must be kept from logging out because of what others do, so it has no other's rate.
LOGOUT = "tokens_logout"


def with_rates(throttles: Iterable[BaseThrottle], *, scope: str | None) -> list[BaseThrottle]:
    """Return the throttles, but without those that limit by scope and have no rate for ours.

    If ``scope`` has no rate, it has that of SCOPE, but LOGOUT has none then. Each scope counts its
    own requests: wrong passwords must not keep a neighbour from refreshing.
    """
    return [one for one in throttles if scope is None or _has_rate(one, scope)]


def _has_rate(throttle: Any, scope: str | None) -> bool:
    if not isinstance(throttle, ScopedRateThrottle) or throttle.scope_attr != "throttle_scope":
        return True
    for name in (scope,) if scope == LOGOUT else (scope, SCOPE):
        throttle.scope = name
        try:
            rate = throttle.get_rate()
        except ImproperlyConfigured:
            continue
        if rate is not None or name in throttle.THROTTLE_RATES:
            throttle.get_rate = lambda rate=rate: rate  # type: ignore[method-assign, misc]
            return True
    return False
