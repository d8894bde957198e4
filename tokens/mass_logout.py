"""End everybody's sessions, for example after a break-in or a leak of tokens.

It works in short transactions while users log in, and needs the same memory for ten users and ten
million.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import blacklist, retry, sessions, users
from .conf import simplejwt
from .models import TokenSession
from .querysets import SessionQuerySet

SESSIONS_IN_BATCH = 5_000
USERS_IN_BATCH = 500


@dataclass(frozen=True, slots=True)
class Ended:
    """How many sessions ended, and of how many users the tokens are refused."""

    sessions: int = 0
    users: int = 0


def count(using: str) -> Ended:
    """Return what ``end_everybody`` would end."""
    number = users.everyone(using).count()
    return Ended(TokenSession.objects.using(using).count(), number)


def end_everybody(
    *,
    reason: str,
    using: str | None = None,
    progress: Callable[[Ended], object] = lambda _batch: None,
) -> Ended:
    """End all sessions and refuse all tokens that were issued until now; return how many.

    A session that starts meanwhile may survive. If this is interrupted, finished batches stay
    done, and you can call it again. It calls ``progress`` with what each batch ended.
    """
    using = using or blacklist.database()
    number_of_users = number_of_sessions = 0
    # Users first: from then on no token without ``sid`` can become a session.
    for number in _refuse_users(using, reason):
        number_of_users += number
        progress(Ended(users=number))
    for number in _end_sessions(using, reason):
        number_of_sessions += number
        progress(Ended(sessions=number))
    return Ended(number_of_sessions, number_of_users)


def _refuse_users(using: str, reason: str) -> Iterator[int]:
    rest = users.everyone(using)

    def refuse_batch(_attempt: int) -> list[tuple[Any, ...]]:
        batch = users.read_locked(rest, "pk", simplejwt.USER_ID_FIELD, limit=USERS_IN_BATCH)
        pairs = ((pk, str(user_id)) for pk, user_id in batch)
        blacklist.revoke_users(pairs, reason=reason, using=using)
        return batch

    while batch := retry.write(refuse_batch, using=using):
        yield len(batch)
        rest = users.everyone(using).filter(pk__gt=batch[-1][0])


def _end_sessions(using: str, reason: str) -> Iterator[int]:
    """End the sessions that exist now, in ranges of ids, which grow with time."""
    rest = TokenSession.objects.using(using).order_by("sid")
    newest = rest.values_list("sid", flat=True).last()
    if newest is None:
        return
    rest = rest.filter(sid__lte=newest)
    end = None
    while end != newest:
        last = SESSIONS_IN_BATCH - 1
        end = rest.values_list("sid", flat=True)[last : last + 1].first() or newest
        batch = rest.filter(sid__lte=end)
        yield retry.write(partial(_end_batch, batch, reason=reason, using=using), using=using)
        rest = rest.filter(sid__gt=end)


def _end_batch(rows: SessionQuerySet, _attempt: int, *, reason: str, using: str) -> int:
    return sessions.end_many(rows, reason=reason, using=using)
