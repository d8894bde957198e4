"""Cached checks that promise little, or nothing."""

from datetime import timedelta
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import databases
from ..conf import conf, simplejwt
from ..models import BlacklistEntry
from ..snapshot import obstacle


@register(Tags.security)
def check_cached(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each reason why TOKENS_CHECK_MAX_AGE does little or nothing."""
    max_age: object = conf.TOKENS_CHECK_MAX_AGE  # values.py checks the type
    if not isinstance(max_age, timedelta) or max_age <= timedelta(0):
        return []
    messages: list[CheckMessage] = []
    if max_age > simplejwt.ACCESS_TOKEN_LIFETIME:
        messages.append(
            checks.Warning(
                "TOKENS_CHECK_MAX_AGE is longer than an access token lives, so logging out may"
                " have no effect on one.",
                hint="Seconds are usual: TOKENS_CHECK_MAX_AGE = timedelta(seconds=1)",
                id="tokens.W015",
            )
        )
    return [*messages, *_about_the_database()]


def _about_the_database() -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    written, read = router.db_for_write(BlacklistEntry), router.db_for_read(BlacklistEntry)
    if written != read:
        messages.append(
            checks.Warning(
                f"A router reads blacklist entries from the database {read!r}. Checks don't:"
                f" cached ones load their snapshot from {written!r}, where entries are written.",
                hint="If that is too much for this database, raise TOKENS_CHECK_MAX_AGE. Or let the"
                " router read tokens.BlacklistEntry where it is written.",
                id="tokens.W016",
            )
        )
    connection = connections[written]
    if databases.supports(connection) and (reason := obstacle(connection)):
        messages.append(
            checks.Warning(
                f"TOKENS_CHECK_MAX_AGE has no effect on the database {written!r}: {reason}.",
                hint="Each check asks the database, which is always right. Remove the setting.",
                id="tokens.W017",
            )
        )
    if _waits_for_itself(connection):
        messages.append(
            checks.Warning(
                f"The pool of the database {written!r} has one connection, and a request keeps it:"
                " each load of a snapshot waits for another until the pool gives up.",
                hint='Raise DATABASES[…]["OPTIONS"]["pool"]["max_size"], or remove'
                " TOKENS_CHECK_MAX_AGE.",
                id="tokens.W039",
            )
        )
    return messages


def _waits_for_itself(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a load needs a second connection, and there can only be one."""
    if not connection.settings_dict["ATOMIC_REQUESTS"] or not databases.supports(connection):
        return False
    return databases.of(connection).most_connections() == 1
