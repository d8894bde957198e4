"""Read simplejwt's tables in batches by primary key: the same memory for any number of rows."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.models import Exists, OuterRef, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils.dateparse import parse_datetime

from .. import clock
from ..querysets import oldest_in_force
from .old_token import Names, OldToken
from .tables import Blacklisted, Outstanding

# A token has a few hundred bytes of text.
ROWS_IN_BATCH = 3000


def blacklisted(using: str) -> Iterator[list[OldToken]]:
    """Yield all blacklisted tokens. ``pk`` is the key of the row that blacklists them."""
    rows = Blacklisted.objects.using(using)
    columns = ("token__jti", "token__user_id", "token__token")
    moments = ("token__expires_at", "token__created_at", "blacklisted_at")
    yield from _batches(rows, columns, moments)


def live(using: str) -> Iterator[list[OldToken]]:
    """Yield the tokens that are neither blacklisted nor, as their row says, expired."""
    blacklist = Blacklisted.objects.filter(token_id=OuterRef("pk"))
    oldest = clock.floor(oldest_in_force(), using)
    rows = Outstanding.objects.using(using).filter(expires_at__gte=oldest)
    columns, moments = ("jti", "user_id", "token"), ("expires_at", "created_at")
    yield from _batches(rows.exclude(Exists(blacklist)), columns, moments)


def _batches(
    rows: QuerySet[Any], columns: tuple[str, ...], moments: tuple[str, ...]
) -> Iterator[list[OldToken]]:
    # As text, because drivers take longer over a moment than over all other columns of its row.
    texts = [Cast(moment, TextField()) for moment in moments]
    rows = rows.order_by("pk").values_list("pk", *columns, *texts)
    after, names, moment = 0, Names.now(), _moments(rows.db)
    while found := rows.filter(pk__gt=after)[:ROWS_IN_BATCH]:
        yield [
            OldToken(names, pk, jti, user_pk, text, *map(moment, texts))
            for pk, jti, user_pk, text, *texts in found
        ]
        after = found[len(found) - 1][0]


def _moments(using: str) -> Callable[[str | None], datetime | None]:
    """Return what reads the text of a moment as Django reads its column; None if it can't."""
    zone = connections[using].timezone

    def moment(text: str | None) -> datetime | None:
        try:
            found = parse_datetime(text or "")
        except ValueError:  # such as MySQL's 0000-00-00
            return None
        if found is None or (zone and found.tzinfo):
            return found
        return found.replace(tzinfo=zone)

    return moment
