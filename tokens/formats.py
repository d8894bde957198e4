"""Numbers and moments as people read them, and JSON for other programs."""

from datetime import UTC, datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from . import clock


def count(number: float, one: str, many: str | None = None) -> str:
    """Return the number with its noun: "1 row", "2,000 rows". ``many`` is ``one`` with an s."""
    return f"{number:,.15g} {one if number == 1 else many or one + 's'}"


def moment(value: datetime | None) -> str:
    """Return the moment in UTC, or "never" for None. A naive one is in UTC already."""
    if value is None:
        return "never"
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return f"{value:%Y-%m-%d %H:%M:%S} UTC"


def one_line(text: object) -> str:
    """Return the text with escapes for what would move the cursor or change how others look."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


class Encoder(DjangoJSONEncoder):
    """Django's encoder, but naive moments are UTC, as in our tables."""

    def default(self, o: Any) -> Any:
        return super().default(clock.aware(o) if isinstance(o, datetime) else o)
