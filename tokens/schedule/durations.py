"""How often to clean up, as people write and read it: ``24h``, "every 24 hours"."""

import re
from datetime import timedelta

from django.utils.dateparse import parse_duration

LEAST, MOST = timedelta(seconds=1), timedelta(days=366)

# The order and the meaning of ISO 8601, without its P and T.
_N = r"[0-9]+(?:\.[0-9]+)?"
_UNITS = re.compile(rf"({_N}d)?((?:{_N}h)?(?:{_N}m)?(?:{_N}s)?)", re.IGNORECASE)

_SECONDS = {"day": 86_400, "hour": 3_600, "minute": 60}


def parse(text: str) -> timedelta:
    """Return the duration that is written as ``1h30m``, as ``HH:MM:SS`` or in ISO 8601.

    Raises ValueError, with a message for people, if it is none or not from 1 second to 366 days.
    A number alone is none: nobody can tell whether seconds or hours are meant.
    """
    if re.fullmatch(_N, text):
        n = text if len(text) < 10 else "90"
        raise ValueError(f"{_short(text)} has no unit: is it {n}s, {n}m or {n}h?")
    units = _UNITS.fullmatch(text)
    if not text or not (units or text.startswith("P") or text.count(":") == 2):
        raise _no_duration(text)
    try:
        found = parse_duration(f"P{units[1] or ''}T{units[2]}".upper() if units else text)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise _no_duration(text)
    return _within_limits(found, text)


def interval(value: timedelta | float | str) -> timedelta:
    """Return the duration that a ``timedelta``, a number of seconds or a text stands for.

    Raises ValueError as ``parse`` does.
    """
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, timedelta):
        return _within_limits(value, str(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _no_duration(value)
    try:
        return _within_limits(timedelta(seconds=value), f"{value} seconds")
    except (ValueError, OverflowError):
        raise _out_of_limits(f"{value} seconds") from None


def words(duration: timedelta) -> str:
    """Return "24 hours" or "1 minute": the duration in the largest unit that divides it.

    A day is 24 hours; days are counted from two on.
    """
    seconds = duration.total_seconds()
    for unit, size in _SECONDS.items():
        if seconds and seconds % size == 0 and (unit != "day" or seconds > size):
            return _count(seconds / size, unit)
    return _count(seconds, "second")


def every(duration: timedelta) -> str:
    """Return "every 24 hours" or "every minute"."""
    return f"every {words(duration).removeprefix('1 ')}"


def _count(number: float, unit: str) -> str:
    return f"{number:,.15g} {unit if number == 1 else unit + 's'}"


def _within_limits(duration: timedelta, said: str) -> timedelta:
    if not LEAST <= duration <= MOST:
        raise _out_of_limits(said)
    return duration


def _out_of_limits(said: str) -> ValueError:
    return ValueError(f"{_short(said)} is not from 1 second to 366 days.")


def _no_duration(value: object) -> ValueError:
    examples = "45s, 90m, 24h, 1d, 1h30m, 12:00:00 or PT24H"
    return ValueError(f"{_short(str(value))} is no duration: write it like {examples}.")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
