"""Fill the blacklist with sessions that were ended lately."""

import time
from typing import Any

from benchmarks.inside import bulk, texts

_DAY = 86_400


def main(count: int, oldest: float, youngest: float) -> dict[str, Any]:
    """Leave ``count`` entries in the table, made from ``oldest`` to ``youngest`` seconds ago."""
    from tokens.models import BlacklistEntry

    began, now = time.monotonic(), time.time()
    BlacklistEntry.objects.all().delete()
    moments = (now - oldest + (oldest - youngest) * number / count for number in range(count))
    bulk.load(
        BlacklistEntry,
        "key scope subject user reason created_at expires_at",
        (
            (
                *(sid, "session", texts.hyphened(sid), texts.user(), "logout"),
                *(texts.time(moment), texts.time(int(moment) + _DAY)),
            )
            for moment in moments
            for sid in [texts.uuid7(moment)]
        ),
    )
    bulk.settle()
    return {"seconds": time.monotonic() - began}
