"""Ask when the rows that wait expired, and when others will. Nothing here writes."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from django.db.models import Q

from .. import blacklist, databases
from ..databases import Counted
from ..models import BlacklistEntry, TokenSession
from .backlog import cutoff_at


def waiting(
    moments: Sequence[datetime], *, limit: int, seconds: float, using: str | None = None
) -> list[Counted] | None:
    """Return how many entries and sessions may go before the first of these moments, by each next.

    As many numbers as ``moments``, which ascend. The second one counts the rows that may go at the
    second moment and might not at the first. Counting of each kind of row stops at ``limit``. One
    statement, along the indexes on ``expires_at``. None if it takes longer than ``seconds``.
    """
    using = using or blacklist.database()
    each = []
    for model in (BlacklistEntry, TokenSession):
        rows = model.objects.using(using)
        ends = [rows.end_before(cutoff_at(moment)) for moment in moments]
        parts = [Q(expires_at__lt=ends[0])]
        parts += [Q(expires_at__gte=since, expires_at__lt=end) for since, end in pairwise(ends)]
        # The one column that an index has: counting need not read the rows themselves.
        each += [rows.filter(part).values("expires_at") for part in parts]
    found = databases.questions(using, seconds=seconds).count_each(each, limit=limit)
    if found is None:
        return None
    entries, sessions = found[: len(moments)], found[len(moments) :]
    return [
        Counted(one.rows + other.rows, at_least=one.at_least or other.at_least)
        for one, other in zip(entries, sessions, strict=True)
    ]
