"""Read simplejwt's tables in batches by primary key: the same memory for any number of rows."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from ..querysets import oldest_in_force
from .old_token import Names, OldToken
from .tables import Blacklisted, Outstanding

# A token has a few hundred bytes of text.
ROWS_IN_BATCH = 2_000

_COLUMNS = ("jti", "user_id", "created_at", "expires_at", "token")


def blacklisted(using: str) -> Iterator[list[OldToken]]:
    """Yield all blacklisted tokens. ``pk`` is the key of the row that blacklists them."""
    columns = ("pk", *(f"token__{name}" for name in _COLUMNS), "blacklisted_at")
    yield from _batches(Blacklisted.objects.using(using), columns)


def live(using: str) -> Iterator[list[OldToken]]:
    """Yield the tokens that are neither blacklisted nor, as their row says, expired."""
    blacklist = Blacklisted.objects.filter(token_id=OuterRef("pk"))
    rows = Outstanding.objects.using(using).filter(expires_at__gte=oldest_in_force())
    yield from _batches(rows.exclude(Exists(blacklist)), ("pk", *_COLUMNS))


def _batches(rows: QuerySet[Any], columns: tuple[str, ...]) -> Iterator[list[OldToken]]:
    rows = rows.order_by("pk").values_list(*columns)
    after, names = 0, Names.now()
    while batch := [OldToken(names, *row) for row in rows.filter(pk__gt=after)[:ROWS_IN_BATCH]]:
        yield batch
        after = batch[-1].pk
