"""Settings that look protected but are not."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string

from .. import databases
from ..conf import conf
from .values import simplejwt_setting


@register(Tags.security)
def check_protection(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error if requests can be authenticated without asking the blacklist."""
    from ..jwt import RevocableToken, patched

    doors = [import_string(path) for path in authentication_classes()]
    token_classes = [
        import_string(path)
        for path in simplejwt_setting(
            "AUTH_TOKEN_CLASSES", ["rest_framework_simplejwt.tokens.AccessToken"]
        )
    ]
    if all(issubclass(patched(token), RevocableToken) for token in token_classes):
        return []
    if not any(asks(door) for door in doors):
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
        if is_simplejwts(door) and not asks(door)
    ]


def authentication_classes() -> Iterable[str]:
    rest_framework: dict[str, Any] = getattr(settings, "REST_FRAMEWORK", None) or {}
    return list(rest_framework.get("DEFAULT_AUTHENTICATION_CLASSES", []))


def asks(authentication: type) -> bool:
    from ..api.authentication import ChecksBlacklist

    return issubclass(authentication, ChecksBlacklist)


def is_simplejwts(authentication: type) -> bool:
    return hasattr(authentication, "get_validated_token")


@register(Tags.security)
def check_supported(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error for each database of ours that is not supported. Does not connect.

    Without DATABASES Django itself complains, at the first statement.
    """
    return [
        Error(
            str(databases.UnsupportedDatabase(connection)),
            hint="Let a router keep the app tokens and the users in a database that is supported.",
            id="tokens.E025",
        )
        for connection in _our_connections()
        if not databases.supports(connection)
        and connection.settings_dict["ENGINE"] != "django.db.backends.dummy"
    ]


@register(Tags.database)
def check_servers(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error for each of our databases that only speaks a supported one's protocol.

    Asks those that Django lets checks ask (``migrate``, ``check --database``). One that does not
    answer is no finding.
    """
    asked = kwargs.get("databases") or ()
    found: list[CheckMessage] = []
    for connection in _our_connections():
        if connection.alias not in asked or not databases.supports(connection):
            continue
        with suppress(DatabaseError):
            if (version := databases.of(connection).stranger()) is not None:
                found.append(
                    Error(
                        f"The database {connection.alias!r} is not supported: its server says that"
                        f" it is {version!r}.",
                        hint="Supported are the databases themselves, and not what speaks their"
                        " protocol. Let a router keep the app tokens and the users elsewhere.",
                        id="tokens.E034",
                    )
                )
    return found


def _our_connections() -> list[BaseDatabaseWrapper]:
    """Return the connections to the databases of the blacklist, the sessions and the users."""
    from ..models import BlacklistEntry, TokenSession

    models: tuple[type[Model], ...] = (BlacklistEntry, TokenSession, get_user_model())
    return [connections[one] for one in dict.fromkeys(router.db_for_write(it) for it in models)]


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
    """Return a Warning for each database of ours that can't tell some moments from others.

    It keeps them in the local time of a zone whose clocks are put back and forward.
    """
    return [
        checks.Warning(
            f"The database {connection.alias!r} keeps moments in local time ({local.zone}), whose"
            " clocks are put back and forward. In those hours it can't tell some moments from"
            " others: expired rows stay longer, and whoever was logged out everywhere may have to"
            " wait until a new token without a session is accepted.",
            hint='Remove TIME_ZONE from DATABASES. It would be "UTC".'
            if settings.USE_TZ
            else 'Set USE_TZ = True, or TIME_ZONE = "UTC".',
            id="tokens.W014",
        )
        for connection in _our_connections()
        if databases.supports(connection)
        and (local := databases.of(connection).local_time()) is not None
        and databases.jumps(local.zone)
    ]


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
