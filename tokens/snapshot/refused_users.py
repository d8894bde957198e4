"""Reading whose tokens without a session have been refused lately, and until when."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor

from django.db.backends.base.base import BaseDatabaseWrapper

from .. import clock, old_tables
from ..conf import conf, simplejwt
from ..models import BlacklistEntry
from . import recent
from .limits import Limits


@dataclass(frozen=True, slots=True)
class RefusedUsers:
    """Until when tokens are refused, in seconds since 1970, by the fingerprint of their user.

    All entries that refuse a token without a session issued at ``since`` or later are here.
    """

    since: int
    until: dict[int, int]


def read(connection: BaseDatabaseWrapper, limits: Limits, *, reach: float) -> RefusedUsers | None:
    """Return what refuses young tokens without a session, or None if only the database can tell.

    That is so without TOKENS_LONGEST_LIFETIME, and while simplejwt's tables are asked too.

    An entry that is written again keeps its ``created_at``. Its ``expires_at`` moves, and has an
    index: it is one longest lifetime after ``issued_before``, or later if the setting was lowered.
    """
    longest = conf.TOKENS_LONGEST_LIFETIME
    # With less, nearly all entries of sessions would be in the way.
    if longest is None or longest <= simplejwt.REFRESH_TOKEN_LIFETIME:
        return None
    if old_tables.are_asked(connection.alias):
        return None
    lifetime = simplejwt.ACCESS_TOKEN_LIFETIME + simplejwt.LEEWAY
    since = datetime.now(UTC) - lifetime - timedelta(seconds=reach + limits.slack())
    rows = _newest(connection, since + longest, limits.users + 1)
    first = ceil(since.timestamp())
    if len(rows) > limits.users:
        # Those that are left out refuse nothing that was issued later than this.
        first = floor((recent.aware(rows.pop()[2]) - longest).timestamp()) + 1
    fingerprint = recent.fingerprint_of(rows[0][0]) if rows else None
    until = {
        fingerprint(row): floor(recent.aware(row[1]).timestamp()) for row in rows if fingerprint
    }
    return RefusedUsers(first, until)


def _newest(connection: BaseDatabaseWrapper, end: datetime, most: int) -> list[tuple[object, ...]]:
    """Return key, ``issued_before`` and ``expires_at`` of the entries of users that end last."""
    table = connection.ops.quote_name(BlacklistEntry._meta.db_table)
    key = connection.ops.quote_name("key")
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {key}, issued_before, expires_at FROM {table}"  # noqa: S608
            " WHERE scope = 'user' AND expires_at >= %s ORDER BY expires_at DESC LIMIT %s",
            [connection.ops.adapt_datetimefield_value(clock.stored(end)), most],
        )
        return list(cursor.fetchall())
