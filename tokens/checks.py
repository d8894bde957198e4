"""System checks: settings without meaning, and ways to believe oneself protected in vain.

An Error also stops ``manage.py crontab run``, so it is kept for what must not run at all.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections, router
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string

from .conf import EVENTS, Conf, conf


@dataclass(frozen=True)
class _Rule:
    id: str
    must: str
    holds: Callable[[Any], bool]
    example: str


def _is_duration(value: Any) -> bool:
    return isinstance(value, timedelta) and value >= timedelta(0)


def _is_positive_duration(value: Any) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_DURATION = "a timedelta that is not negative"

_RULES = {
    "TOKENS_CLEANUP_INTERVAL": _Rule(
        "tokens.E001", "a timedelta above zero", _is_positive_duration, "timedelta(hours=24)"
    ),
    "TOKENS_CLEANUP_MARGIN": _Rule("tokens.E002", _DURATION, _is_duration, "timedelta(minutes=5)"),
    "TOKENS_RETENTION": _Rule("tokens.E003", _DURATION, _is_duration, "timedelta(days=90)"),
    "TOKENS_CLEANUP_BATCH_SECONDS": _Rule(
        "tokens.E004", "a number above zero", lambda value: _is_number(value) and value > 0, "0.1"
    ),
    "TOKENS_ROTATION_GRACE": _Rule("tokens.E005", _DURATION, _is_duration, "timedelta(seconds=10)"),
    "TOKENS_SESSION_METADATA": _Rule(
        "tokens.E006", "True or False", lambda value: isinstance(value, bool), "True"
    ),
    "TOKENS_MAX_SESSIONS_PER_USER": _Rule(
        "tokens.E007",
        "None or a whole number above zero",
        lambda value: value is None or (type(value) is int and value > 0),
        "10",
    ),
    "TOKENS_REVOKE_ON": _Rule(
        "tokens.E008",
        f"a tuple of some of {', '.join(EVENTS)}",
        lambda value: isinstance(value, tuple | list | set) and set(value) <= set(EVENTS),
        '("password_change", "deactivation", "deletion")',
    ),
}


@register(Tags.security)
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error for each setting whose value has no meaning."""
    return [
        Error(
            f"{name} must be {rule.must}, not {getattr(conf, name)!r}.",
            hint=f"For example: {name} = {rule.example}",
            id=rule.id,
        )
        for name, rule in _RULES.items()
        if not rule.holds(getattr(conf, name))
    ]


@register(Tags.security)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each setting that looks like ours and is not."""
    known = [name for name in vars(Conf) if name.startswith("TOKENS_")]
    unknown = [name for name in dir(settings) if name.startswith("TOKENS_") and name not in known]
    return [
        checks.Warning(
            f"{name} is not a setting of the app tokens, so it has no effect.",
            hint=f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known))}.",
            id="tokens.W001",
        )
        for name in unknown
        for near in [get_close_matches(name, known, n=1)]
    ]


def _simplejwt(name: str, default: Any) -> Any:
    return (getattr(settings, "SIMPLE_JWT", None) or {}).get(name, default)


@register(Tags.security)
def check_simplejwt(**kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with the settings of simplejwt that we depend on."""
    messages: list[CheckMessage] = []
    leeway = _simplejwt("LEEWAY", 0)
    if leeway is not None and not _is_duration(leeway) and not (_is_number(leeway) and leeway >= 0):
        messages.append(
            Error(
                f'SIMPLE_JWT["LEEWAY"] must be seconds or a timedelta, not {leeway!r}.',
                hint="The cleanup keeps entries that much longer. For example: 30",
                id="tokens.E010",
            )
        )
    if not _simplejwt("JTI_CLAIM", "jti"):
        messages.append(
            Error(
                'SIMPLE_JWT["JTI_CLAIM"] is empty, so tokens have no id to be revoked by.',
                hint='Remove it, or set it to "jti".',
                id="tokens.E011",
            )
        )
    if _simplejwt("BLACKLIST_AFTER_ROTATION", default=False) and apps.is_installed(
        "rest_framework_simplejwt.token_blacklist"
    ):
        messages.append(
            checks.Warning(
                "BLACKLIST_AFTER_ROTATION writes to simplejwt's own blacklist app, which is"
                " still installed and which our token classes do not ask.",
                hint="Remove rest_framework_simplejwt.token_blacklist from INSTALLED_APPS;"
                " rotation uses a refresh token up without it.",
                id="tokens.W010",
            )
        )
    return messages


@register(Tags.security)
def check_protection(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error if requests can be authenticated without asking the blacklist."""
    from .jwt import RevocableToken

    doors = [import_string(path) for path in _authentication_classes()]
    token_classes = [
        import_string(path)
        for path in _simplejwt(
            "AUTH_TOKEN_CLASSES", ["rest_framework_simplejwt.tokens.AccessToken"]
        )
    ]
    if all(issubclass(token, RevocableToken) for token in token_classes):
        return []
    if not any(_asks(door) for door in doors):
        return [
            Error(
                "Nothing asks the blacklist: revoked access tokens are still accepted.",
                hint='Name "tokens.api.authentication.JWTAuthentication" in'
                ' REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"], or'
                ' "tokens.jwt.AccessToken" in SIMPLE_JWT["AUTH_TOKEN_CLASSES"].',
                id="tokens.E020",
            )
        ]
    return [
        Error(
            f"{door.__module__}.{door.__qualname__} accepts revoked access tokens.",
            hint="Replace it by its namesake in tokens.api.authentication, or name only classes"
            ' of tokens.jwt in SIMPLE_JWT["AUTH_TOKEN_CLASSES"].',
            id="tokens.E021",
        )
        for door in doors
        if _is_simplejwts(door) and not _asks(door)
    ]


def _authentication_classes() -> Iterable[str]:
    rest_framework: dict[str, Any] = getattr(settings, "REST_FRAMEWORK", None) or {}
    return list(rest_framework.get("DEFAULT_AUTHENTICATION_CLASSES", []))


def _asks(authentication: type) -> bool:
    from .api.authentication import ChecksBlacklist

    return issubclass(authentication, ChecksBlacklist)


def _is_simplejwts(authentication: type) -> bool:
    return hasattr(authentication, "get_validated_token")


_SERIALIZERS = (
    "TOKEN_OBTAIN_SERIALIZER",
    "TOKEN_REFRESH_SERIALIZER",
    "TOKEN_VERIFY_SERIALIZER",
    "TOKEN_BLACKLIST_SERIALIZER",
)


@register(Tags.security)
def check_serializers(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each serializer of the project's that ``tokens.urls`` can't use."""
    from .api.serializers import AsksBlacklist

    return [
        checks.Warning(
            f'SIMPLE_JWT["{name}"] is not a subclass of ours, so tokens.urls does not use it.',
            hint="Derive it from the class of its base's name in tokens.api.serializers.",
            id="tokens.W011",
        )
        for name in _SERIALIZERS
        if (path := _simplejwt(name, None)) is not None
        and not path.startswith("rest_framework_simplejwt.")
        and not issubclass(import_string(path), AsksBlacklist)
    ]


@register(Tags.security)
def check_databases(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error if users and sessions are written to different databases."""
    from .models import TokenSession

    written = [router.db_for_write(model) for model in (get_user_model(), TokenSession)]
    if len(set(written)) == 1:
        return []
    return [
        Error(
            f"Users are in the database {written[0]!r}, their sessions in {written[1]!r}.",
            hint="Let the database router keep the app tokens where the user model is.",
            id="tokens.E023",
        )
    ]


@register(Tags.urls)
def check_urls(**kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with each of simplejwt's views that the project serves."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    from .api.serializers import AsksBlacklist, TokenRefreshSerializer
    from .api.views import serializer_of_simplejwts_view

    messages: list[CheckMessage] = []
    atomic = any(connection.settings_dict["ATOMIC_REQUESTS"] for connection in connections.all())
    for route, view in _routes(get_resolver().url_patterns):
        serializer = serializer_of_simplejwts_view(view)
        if serializer is None:
            continue
        if not issubclass(serializer, AsksBlacklist):
            messages.append(
                Error(
                    f"The URL {route!r} is served by"
                    f" {serializer.__module__}.{serializer.__qualname__},"
                    " which does not ask the blacklist.",
                    hint='Include "tokens.urls", or name the serializer of that name in'
                    " tokens.api.serializers in SIMPLE_JWT.",
                    id="tokens.E022",
                )
            )
        elif atomic and issubclass(serializer, TokenRefreshSerializer):
            messages.append(
                checks.Warning(
                    f"The URL {route!r} is served by simplejwt's view in a request transaction:"
                    " when a refresh token is reused, its session is ended and the 401 rolls"
                    " that back.",
                    hint='Include "tokens.urls", or switch ATOMIC_REQUESTS off for this view.',
                    id="tokens.W012",
                )
            )
    return messages


def _routes(patterns: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, getattr(pattern.callback, "cls", None)
