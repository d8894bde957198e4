"""Moments, as the tables keep them: aware and UTC, or naive and UTC where ``USE_TZ`` is off."""

import math
import time
from datetime import UTC, datetime
from functools import partial

from django.conf import settings
from django.db import connections

from . import databases

# A day below datetime.max, so that no time zone shifts it out of range when it is shown.
END_OF_TIME = datetime(9999, 12, 30, tzinfo=UTC)
_LAST_EPOCH = END_OF_TIME.timestamp()


def stored(moment: datetime) -> datetime:
    """Return an aware ``moment`` in UTC as the tables keep it."""
    return moment if settings.USE_TZ else moment.replace(tzinfo=None)


def aware(moment: datetime) -> datetime:
    """Return a moment of the tables as an aware one in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def now() -> datetime:
    """Return the present moment by this host's clock."""
    return stored(datetime.now(UTC))


# CLOCK_MONOTONIC stands still while the machine is suspended, and a snapshot would not age.
if hasattr(time, "CLOCK_BOOTTIME"):
    # Seconds that are never set back and that include suspension; only differences mean anything.
    elapsed = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
else:  # pragma: no cover (not Linux)
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
