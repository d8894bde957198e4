"""Fill the tables with tokens that were logged out: expired ones, and some still in force."""

import random
import string
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import uuid4

from django.db import connection, models
from uuid6 import uuid7

from benchmarks.inside.tables import APP

_CHUNK = 5_000
_TOKEN_LENGTH = 288  # of a refresh token of simplejwt with HS256
_ALPHABET = string.ascii_letters + string.digits + "-_"


def main(expired: int, live: int) -> dict[str, Any]:
    fill = _fill_ours if APP == "tokens" else _fill_simplejwt
    fill(_ends(expired, live))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
        elif connection.vendor == "sqlite":
            cursor.execute("ANALYZE")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return {}


def _ends(expired: int, live: int) -> Iterator[datetime]:
    """Give when each token ends: over the month until yesterday, then over the next day."""
    now, day = datetime.now(UTC), timedelta(days=1)
    for number in range(expired):
        yield now - 31 * day + 30 * day * number / expired
    for number in range(live):
        yield now + day + day * number / live


def _fill_ours(ends: Iterator[datetime]) -> None:
    from tokens.models import BlacklistEntry

    for chunk in _chunks(ends):
        _insert(
            BlacklistEntry(
                key=(sid := uuid7()),
                scope="session",
                subject=str(sid),
                user_id=1,
                reason="logout",
                created_at=end - timedelta(days=1),
                expires_at=end,
            )
            for _, end in chunk
        )


def _fill_simplejwt(ends: Iterator[datetime]) -> None:
    from rest_framework_simplejwt.token_blacklist import models

    for chunk in _chunks(ends):
        _insert(
            models.OutstandingToken(
                id=number,
                user_id=1,
                jti=uuid4().hex,
                token="".join(random.choices(_ALPHABET, k=_TOKEN_LENGTH)),
                created_at=end - timedelta(days=1),
                expires_at=end,
            )
            for number, end in chunk
        )
        _insert(models.BlacklistedToken(token_id=number) for number, _ in chunk)


def _chunks(ends: Iterator[datetime]) -> Iterator[list[tuple[int, datetime]]]:
    numbered = enumerate(ends, start=1)
    while chunk := list(islice(numbered, _CHUNK)):
        yield chunk


def _insert(instances: Iterable[models.Model]) -> None:
    rows = list(instances)
    type(rows[0])._default_manager.bulk_create(rows)
