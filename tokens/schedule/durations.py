"""How often to clean up, as people write and read it: ``24h``, "every 24 hours"."""

import re
from datetime import timedelta

from .. import formats

LEAST, MOST = timedelta(seconds=1), timedelta(days=366)

# Eight digits are enough for MOST in seconds, and too few to overflow in days.
_N = "([0-9]{1,8})"
_DURATION = re.compile(rf"(?:{_N}d)?(?:{_N}h)?(?:{_N}m)?(?:{_N}s)?")
_IN_SECONDS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def parse(text: str, *, most: timedelta = MOST) -> timedelta:
    """Return the duration written as whole days, hours, minutes and seconds: ``24h``, ``1h30m``.

    Raises ValueError, with a message for people, if the text is not a duration, has no unit, or is
    not between 1 second and ``most``.
    """
    if text.isascii() and text.isdecimal():
        n = text if len(text) < 10 else "90"
        raise ValueError(f"{_short(text)} has no unit: is it {n}s, {n}m or {n}h?")
    found = _DURATION.fullmatch(text)
    if not text or not found:
        raise ValueError(
            f"{_short(text)} is not a duration: write it like 45s, 90m, 24h, 1d or 1h30m."
        )
    numbers = (int(number or 0) for number in found.groups())
    seconds = sum(n * size for n, size in zip(numbers, _IN_SECONDS.values(), strict=True))
    return _within_limits(timedelta(seconds=seconds), text, most)


def interval(value: timedelta | str) -> timedelta:
    """Return ``value``, or the duration that it spells.

    Raises ValueError as ``parse`` does, and TypeError for anything else: a number says nothing
    about its unit.
    """
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, timedelta):
        return _within_limits(value, str(value))
    raise TypeError(f"An interval is a timedelta or a text like 24h or 1h30m, not {value!r}.")


def words(duration: timedelta) -> str:
    """Return "24 hours" or "1 minute": the duration in the largest unit that divides it.

    One day is "24 hours"; from two on, days are counted.
    """
    seconds = duration.total_seconds()
    for unit, size in _IN_SECONDS.items():
        if seconds and seconds % size == 0 and (unit != "day" or seconds > size):
            return formats.count(seconds / size, unit)
    return formats.count(seconds, "second")


def every(duration: timedelta) -> str:
    """Return "every 24 hours" or "every minute"."""
    return f"every {words(duration).removeprefix('1 ')}"


def _within_limits(duration: timedelta, said: str, most: timedelta = MOST) -> timedelta:
    if not LEAST <= duration <= most:
        raise ValueError(f"{_short(said)} is not between 1 second and {most.days:,} days.")
    return duration


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
