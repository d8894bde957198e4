"""Ending sessions in ``async def``: the prefix is Django's, the answers are the same.

Statements run where Django runs those of asynchronous code (``sync_to_async``), with the caller's
context variables.
"""

from collections.abc import Callable, Iterable
from typing import Any

from asgiref.sync import sync_to_async

from ..claims import Claims
from ..models import BlacklistEntry
from . import ending, groups
from .ending import Reason


async def aend(claims: Claims, *, reason: str = Reason.LOGOUT) -> tuple[BlacklistEntry, bool]:
    """Do what ``end`` does: end the login that a token belongs to."""
    return await sync_to_async(ending.end)(claims, reason=reason)


async def aend_one(user: Any, sid: str, *, reason: str = Reason.LOGOUT) -> bool:
    """Do what ``end_one`` does: return False if the user has no session ``sid``."""
    return await sync_to_async(ending.end_one)(user, sid, reason=reason)


async def aend_all(user: Any, *, reason: str = Reason.LOGOUT_ALL, but: str | None = None) -> int:
    """Do what ``end_all`` does: log ``user`` out everywhere, and return how many ended."""
    return await sync_to_async(ending.end_all)(user, reason=reason, but=but)


async def aend_for(
    people: Iterable[Any],
    *,
    reason: str = Reason.LOGOUT_ALL,
    progress: Callable[[groups.Ended], object] | None = None,
) -> groups.Ended:
    """Do what ``end_for`` does: log all these users out everywhere.

    Other code gets its turn between two batches, and a task that is cancelled stops there.
    ``progress`` is called in the event loop.
    """
    batches = groups.ended_in_batches(people, reason=reason)
    ended_next = sync_to_async(lambda: next(batches, None))
    total = groups.Ended()
    while (ended := await ended_next()) is not None:
        total += ended
        if progress:
            progress(ended)
    return total
