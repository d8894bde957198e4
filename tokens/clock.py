"""Moments, as the tables keep them: aware and UTC, or naive and UTC where ``USE_TZ`` is off."""

import math
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import connections
from django.db.models import DateTimeField, Expression

from . import databases
from .conf import given

# A day below datetime.max, so that no time zone shifts it out of range when it is shown.
END_OF_TIME = datetime(9999, 12, 30, tzinfo=UTC)
_LAST_EPOCH = END_OF_TIME.timestamp()


def stored(moment: datetime) -> datetime:
    """Return an aware ``moment`` in UTC as the tables keep it."""
    return moment if given("USE_TZ", default=True) else moment.replace(tzinfo=None)


def aware(moment: datetime) -> datetime:
    """Return a moment of the tables as an aware one in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def now() -> datetime:
    """Return the present moment by this host's clock."""
    return stored(datetime.now(UTC))


class Present(datetime):
    """The present moment by this host's clock, for which a row takes the database's."""


def present() -> Present:
    """Return the present moment, in the place of a moment that nobody has given."""
    moment = now()
    return Present.combine(moment.date(), moment.timetz())


# Seconds that are never set back and that include suspension; only differences mean anything. On
# Linux and macOS, time.monotonic stands still while the machine is suspended, and a snapshot would
# not age.
if hasattr(time, "CLOCK_BOOTTIME"):
    elapsed = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
elif sys.platform == "darwin":  # the same clock has another name there
    elapsed = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
else:
    elapsed = partial(time.monotonic)


def from_epoch(seconds: float) -> datetime:
    """Return the moment ``seconds`` after 1970, or the end of time if that is earlier."""
    return stored(datetime.fromtimestamp(min(seconds, _LAST_EPOCH), UTC))


def end_of_time() -> datetime:
    """Return the moment that stands for never."""
    return stored(END_OF_TIME)


def to_epoch(moment: datetime) -> int:
    """Return the whole seconds from 1970 to ``moment``, rounded down as simplejwt does."""
    return math.floor(moment.replace(tzinfo=UTC).timestamp())


def database_now(using: str) -> datetime:
    """Return the present moment by the clock of the database ``using``. One statement.

    Raises databases.UnsupportedDatabase.
    """
    return stored(databases.of(connections[using]).now())


class DatabaseNow(Expression):
    """The moment when a statement began, by the clock of the database that runs it.

    Where the database keeps moments in local time, which it can't convert without tables of time
    zones, it is the present moment by this host's clock.
    """

    output_field = DateTimeField()

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        database = databases.of(connection)
        if database.local_time():
            return "%s", (connection.ops.adapt_datetimefield_value(now()),)
        return database.STORED_NOW.replace("%", "%%"), ()


def is_local(using: str) -> bool:
    """Return whether the database keeps moments in local time, which may come twice."""
    return _local_time(using) is not None


def floor(moment: datetime, using: str) -> datetime:
    """Return the latest moment below which the database keeps nothing from ``moment`` on.

    Ask for rows of ``moment`` or later by this one. It is an hour earlier where the database keeps
    moments in local time and the hour of ``moment`` comes twice; everywhere else it is ``moment``.
    """
    local = _local_time(using)
    return local.floor(moment) if local else moment


def latest(moment: datetime, using: str) -> datetime:
    """Return the latest moment that one that was read from the database may mean."""
    local = _local_time(using)
    return local.meanings(moment)[-1] if local else moment


def recorded(moment: datetime, using: str, *, by: datetime) -> datetime:
    """Return the latest moment that one that was read may mean if it was recorded until ``by``.

    If all are later than that, return the earliest.
    """
    local = _local_time(using)
    meanings = local.meanings(moment) if local else (moment,)
    return max((one for one in meanings if one <= by), default=meanings[0])


def _local_time(using: str) -> Any:
    connection = connections[using]
    return databases.of(connection).local_time() if databases.supports(connection) else None
