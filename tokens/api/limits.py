"""What limits how often somebody may try to log in. System checks ask."""

from dataclasses import dataclass
from typing import Any

from django.core.cache import cache as default_cache
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle, SimpleRateThrottle
from rest_framework.views import APIView
from rest_framework_simplejwt import serializers, views

from .views import TokenObtainPairView

_LOGINS = (TokenObtainPairView, views.TokenObtainPairView, views.TokenObtainSlidingView)


@dataclass(frozen=True)
class Limits:
    """What limits a view that takes passwords.

    ``are_there`` says whether anything does. If nothing but rates of Django REST framework do:
    ``caches`` has the names of the classes that count, and ``by_header`` says whether clients name
    their own address.
    """

    are_there: bool
    caches: frozenset[str] = frozenset()
    by_header: bool = False


def of_login(view: Any) -> Limits | None:
    """Return what limits a view, as URL patterns have it.

    None if it takes no passwords, or if only the view itself can tell.
    """
    cls = getattr(view, "cls", None)
    if cls is None or not _takes_passwords(cls, view.initkwargs):
        return None
    if cls.check_throttles is not APIView.check_throttles:
        return None
    instance = cls(**view.initkwargs)
    try:
        throttles = [one for one in instance.get_throttles() if _limits(one, instance)]
    except (AttributeError, ImproperlyConfigured):  # it looks at the request, or always fails
        return None
    rates: list[Any] = [one for one in throttles if isinstance(one, SimpleRateThrottle)]
    if len(rates) < len(throttles) or not rates:
        return Limits(are_there=bool(throttles))
    return Limits(
        are_there=True,
        caches=frozenset(map(_kind_of_cache, rates)),
        by_header=api_settings.NUM_PROXIES is None
        and all(type(one).get_ident is BaseThrottle.get_ident for one in rates),
    )


def _takes_passwords(cls: Any, options: dict[str, Any]) -> bool:
    if not issubclass(cls, views.TokenViewBase):
        return False
    serializer = options.get("serializer_class") or cls.serializer_class
    takes = serializer and issubclass(serializer, serializers.TokenObtainSerializer)
    return bool(takes) or issubclass(cls, _LOGINS)


def _limits(throttle: Any, view: Any) -> bool:
    if isinstance(throttle, ScopedRateThrottle):
        throttle.scope = getattr(view, throttle.scope_attr, None)
        return bool(throttle.scope) and throttle.get_rate() is not None
    return not isinstance(throttle, SimpleRateThrottle) or throttle.rate is not None


def _kind_of_cache(throttle: Any) -> str:
    used = throttle.cache
    return type(caches["default"] if used is default_cache else used).__name__
