"""Write entries at a steady rate, many in one statement, as many processes together would."""

import time
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db import connection

from benchmarks.board import Board
from tokens import clock
from tokens.keys import new_sid

_BATCH = 0.1  # seconds


def main(board: dict[str, Any], process: int, rate: int, seconds: float) -> dict[str, Any]:
    """Write ``rate`` entries a second for ``seconds``, and tell how many it came to."""
    from tokens.models import BlacklistEntry

    number = max(1, round(rate * _BATCH))
    at = Board(**board).wait(process)
    written, turn = 0, 0
    while (turn := turn + 1) * _BATCH <= seconds:
        expires_at = clock.now() + timedelta(days=1)
        sids = [new_sid() for _ in range(number)]
        BlacklistEntry.objects.bulk_create(
            BlacklistEntry(
                key=sid, scope="session", subject=sid, reason="logout", expires_at=expires_at
            )
            for sid in sids
        )
        written += number
        time.sleep(max(0.0, at + turn * _BATCH - monotonic()))
    connection.close()
    return {"written": written, "seconds": monotonic() - at, "errors": []}
