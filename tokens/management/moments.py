"""Moments, as people write them on a command line."""

from datetime import UTC, datetime

from django.core.management.base import CommandError

from .. import clock
from ..schedule.exit_codes import USAGE

_TIME = "2030-01-31T12:00:00Z"


def moment_in(option: str, text: object, *, seconds: bool = False, dates: bool = False) -> datetime:
    """Return the moment that the value of an option names, as the tables keep moments.

    It is a time with its zone; with ``dates`` also a date, which begins in UTC, and with
    ``seconds`` also a number of seconds since 1970. Raises CommandError.
    """
    text = text.isoformat() if isinstance(text, datetime) else str(text)
    is_date = dates and len(text) == len("2030-01-31")
    try:
        if seconds and text.isdecimal():
            named = datetime.fromtimestamp(int(text), UTC)
        else:
            named = datetime.fromisoformat(f"{text}T00:00:00Z" if is_date else text)
        moment = clock.from_epoch(named.timestamp())
    except (ValueError, OverflowError, OSError):
        others = ["seconds since 1970, or "] * seconds + ["a date like 2030-01-31, or "] * dates
        raise CommandError(
            f"--{option} must be {''.join(others)}a time like {_TIME}, not {text!r}.",
            returncode=USAGE,
        ) from None
    if named.tzinfo is None:
        raise CommandError(
            f"--{option} needs a time zone, as in {_TIME}; {text!r} has none.", returncode=USAGE
        )
    return moment
