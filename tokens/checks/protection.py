"""Settings that look protected but are not."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections, router
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string

from .. import databases
from ..conf import conf
from .values import simplejwt_setting


@register(Tags.security)
def check_protection(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error if requests can be authenticated without asking the blacklist."""
    from ..jwt import RevocableToken, patched

    doors = [import_string(path) for path in _authentication_classes()]
    token_classes = [
        import_string(path)
        for path in simplejwt_setting(
            "AUTH_TOKEN_CLASSES", ["rest_framework_simplejwt.tokens.AccessToken"]
        )
    ]
    if all(issubclass(patched(token), RevocableToken) for token in token_classes):
        return []
    if not any(_asks(door) for door in doors):
        return [
            Error(
                "Nothing checks the blacklist: revoked access tokens are still accepted.",
                hint='Put "tokens.api.authentication.JWTAuthentication" into'
                ' REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"], or'
                ' "tokens.jwt.AccessToken" in SIMPLE_JWT["AUTH_TOKEN_CLASSES"].',
                id="tokens.E020",
            )
        ]
    return [
        Error(
            f"{door.__module__}.{door.__qualname__} accepts revoked access tokens.",
            hint="Use the class of the same name in tokens.api.authentication, or list only classes"
            ' from tokens.jwt in SIMPLE_JWT["AUTH_TOKEN_CLASSES"].',
            id="tokens.E021",
        )
        for door in doors
        if _is_simplejwts(door) and not _asks(door)
    ]


def _authentication_classes() -> Iterable[str]:
    rest_framework: dict[str, Any] = getattr(settings, "REST_FRAMEWORK", None) or {}
    return list(rest_framework.get("DEFAULT_AUTHENTICATION_CLASSES", []))


def _asks(authentication: type) -> bool:
    from ..api.authentication import ChecksBlacklist

    return issubclass(authentication, ChecksBlacklist)


def _is_simplejwts(authentication: type) -> bool:
    return hasattr(authentication, "get_validated_token")


@register(Tags.security)
def check_supported(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error if the blacklist's database is not supported. Does not connect to it.

    Without DATABASES Django itself complains, at the first statement.
    """
    from ..blacklist import database

    connection = connections[database()]
    engine = connection.settings_dict["ENGINE"]
    if databases.supports(connection) or engine == "django.db.backends.dummy":
        return []
    return [
        Error(
            str(databases.UnsupportedDatabase(connection)),
            hint="Let a router keep the app tokens and the users in a database that is supported.",
            id="tokens.E025",
        )
    ]


def _database() -> databases.Database | None:
    """Return the blacklist's database, or None if it is not supported (``check_supported``)."""
    from ..blacklist import database

    connection = connections[database()]
    return databases.of(connection) if databases.supports(connection) else None


@register(Tags.security, deploy=True)
def check_write_lock(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if concurrent writes on SQLite fail at once instead of waiting."""
    database = _database()
    if database is None or not database.locks_late():
        return []
    return [
        checks.Warning(
            "SQLite transactions begin without the write lock, so a transaction that reads first"
            ' fails with "database is locked" if another connection writes meanwhile.',
            hint='Set DATABASES["default"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
            id="tokens.W013",
        )
    ]


@register(Tags.security)
def check_time_zone(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if the database shifts some of our timestamps by an hour.

    Without USE_TZ, PostgreSQL takes our naive UTC timestamps for local times in TIME_ZONE. The hour
    that is skipped in spring does not exist there: it is stored and compared as the next hour.
    """
    database = _database()
    if settings.USE_TZ or database is None or not database.keeps_local_time():
        return []
    if not _changes_its_clocks(settings.TIME_ZONE):
        return []
    return [
        checks.Warning(
            f"USE_TZ is off and {settings.TIME_ZONE} has daylight saving time: a cleanup in the"
            " hour that is skipped in spring removes entries up to an hour too early, so revoked"
            " tokens are accepted again.",
            hint='Set USE_TZ = True, or TIME_ZONE = "UTC".',
            id="tokens.W014",
        )
    ]


def _changes_its_clocks(zone: str) -> bool:
    this_year = datetime.now(UTC).year
    start = datetime(this_year, 1, 1, tzinfo=ZoneInfo(zone))
    return len({(start + timedelta(days=days)).utcoffset() for days in range(2 * 365)}) > 1


_SERIALIZERS = (
    "TOKEN_OBTAIN_SERIALIZER",
    "TOKEN_REFRESH_SERIALIZER",
    "TOKEN_VERIFY_SERIALIZER",
    "TOKEN_BLACKLIST_SERIALIZER",
)


@register(Tags.security)
def check_serializers(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each serializer of the project that ``tokens.urls`` can't use."""
    from ..api.patch import patched
    from ..api.serializers import AsksBlacklist

    return [
        checks.Warning(
            f'SIMPLE_JWT["{name}"] is not a subclass of our serializer, so tokens.urls ignores it.',
            hint="Derive it from the serializer in tokens.api.serializers that has the same name as"
            " its present base class.",
            id="tokens.W011",
        )
        for name in _SERIALIZERS
        if (path := simplejwt_setting(name, None)) is not None
        and not path.startswith("rest_framework_simplejwt.")
        and not issubclass(patched(import_string(path)), AsksBlacklist)
    ]


@register(Tags.security)
def check_databases(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error for each database setup that can lose a logout."""
    from ..models import BlacklistEntry, TokenSession

    found: list[CheckMessage] = []
    users, sessions, entries = (
        router.db_for_write(model) for model in (get_user_model(), TokenSession, BlacklistEntry)
    )
    if users != sessions:
        found.append(
            Error(
                f"Users are in the database {users!r}, but their sessions are in {sessions!r}.",
                hint="Make the database router keep the tokens app in the user model's database.",
                id="tokens.E023",
            )
        )
    if not connections[entries].settings_dict.get("AUTOCOMMIT", True):
        found.append(
            Error(
                f"DATABASES[{entries!r}] turns AUTOCOMMIT off, so a logout is answered before it"
                " is committed, and is lost if nothing commits it.",
                hint="Remove AUTOCOMMIT. For a transaction in each request, use ATOMIC_REQUESTS.",
                id="tokens.E024",
            )
        )
    return found


@register(Tags.urls)
def check_urls(**kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with each simplejwt view that the project serves."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    from ..api.serializers import AsksBlacklist, TokenRefreshSerializer
    from ..api.views import serializer_of_simplejwts_view

    messages: list[CheckMessage] = []
    rolls_back = not conf.TOKENS_PATCH_SIMPLEJWT
    atomic = any(connection.settings_dict["ATOMIC_REQUESTS"] for connection in connections.all())
    for route, view in routes(get_resolver().url_patterns):
        serializer = serializer_of_simplejwts_view(view)
        if serializer is None:
            continue
        if not issubclass(serializer, AsksBlacklist):
            messages.append(
                Error(
                    f"The URL {route!r} is served by"
                    f" {serializer.__module__}.{serializer.__qualname__},"
                    " which does not check the blacklist.",
                    hint='Include "tokens.urls", or name the serializer of the same name in'
                    " tokens.api.serializers in SIMPLE_JWT.",
                    id="tokens.E022",
                )
            )
        elif atomic and rolls_back and issubclass(serializer, TokenRefreshSerializer):
            messages.append(
                checks.Warning(
                    f"The URL {route!r} is served by simplejwt's view in a request transaction:"
                    " if a refresh token is reused, the 401 rolls back the end of its session.",
                    hint='Include "tokens.urls", or turn ATOMIC_REQUESTS off for this view.',
                    id="tokens.W012",
                )
            )
    return messages


def routes(patterns: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the route and the view of each URL pattern."""
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.callback
