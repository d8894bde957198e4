"""Try again after database errors that pass.

``write`` is for work in the background, which has time: it tries again after any such error.
``lost_races`` is for what a client waits for: it tries again only after a lost race.
"""

import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)

from . import databases
from .log import logger

P = ParamSpec("P")
T = TypeVar("T")

# A deadlock, a lock time-out, a busy SQLite file, a connection that was cut.
TRANSIENT = (OperationalError, InterfaceError)

# Seconds before the second attempt, the third, and so on.
WAITS = (0.1, 0.5, 2.0)

# The same after a lost race, on average: the winner is done by then, and two losers don't meet.
RACE_WAITS = (0.01, 0.05, 0.2)

# Whoever fails within so many seconds has not waited for a lock.
AT_ONCE = 0.1

# On an error: it was raised by the last attempt, so callers don't try again.
_GIVEN_UP = "_tokens_given_up"


class LostRace(IntegrityError):
    """Another transaction wrote the row that this one inserts, and this one can't see it yet."""


def write(
    work: Callable[[int], T],
    *,
    using: str,
    wait: Callable[[float], object] = time.sleep,
    begin: Callable[[], AbstractContextManager[object]] | None = None,
) -> T:
    """Return what ``work`` returns; ``work`` gets the number of the attempt, from zero.

    ``work`` is committed before this returns, so calling it inside a transaction raises
    RuntimeError. If the last attempt fails, its database error is raised.

    ``begin`` gives the transaction, if it is not a plain one.
    """
    begin = begin or partial(transaction.atomic, using, durable=True)
    attempt = 0
    while True:
        try:
            with begin():
                return work(attempt)
        except TRANSIENT as error:
            if attempt == len(WAITS):
                raise
            _log(logging.WARNING, "a transaction failed", error, attempt, WAITS[attempt], using)
        connections[using].close_if_unusable_or_obsolete()
        wait(WAITS[attempt])
        attempt += 1


def lost_races(work: Callable[P, T]) -> Callable[P, T]:
    """Return ``work``, tried again while the database says that its transaction lost a race.

    That is a serialization failure, a deadlock, or a commit that another node of a cluster refused:
    the database has rolled the transaction back. If the last attempt fails, too, or if the error is
    any other, it is raised.

    In a transaction of the caller's, on whatever database, ``work`` is called once, because only
    the caller can repeat that transaction. ``work`` must be safe to repeat: let it be one
    transaction, or write nothing after its first that it would not write again, and tell nobody
    before its last write.
    """

    @wraps(work)
    def attempts(*args: P.args, **kwargs: P.kwargs) -> T:
        attempt = 0
        while True:
            begun = time.monotonic()
            try:
                return work(*args, **kwargs)
            except DatabaseError as error:
                at_once = time.monotonic() - begun < AT_ONCE
                if hasattr(error, _GIVEN_UP) or in_transaction() or not _is_lost(error, at_once):
                    raise
                if attempt == len(RACE_WAITS):
                    setattr(error, _GIVEN_UP, True)
                    raise
                pause = RACE_WAITS[attempt] * random.uniform(0.5, 1.5)  # noqa: S311
                _log(logging.INFO, "a transaction lost a race", error, attempt, pause)
            time.sleep(pause)
            attempt += 1

    return attempts


def _is_lost(error: Exception, at_once: bool) -> bool:  # noqa: FBT001
    return isinstance(error, LostRace) or databases.lost_race(error, at_once=at_once)


def in_transaction() -> bool:
    """Return whether this thread is in a transaction, on whatever database."""
    return any(one.in_atomic_block for one in connections.all(initialized_only=True))


def describe(error: BaseException) -> str:
    """Return the type and the first line of an error; databases add details on more lines."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])[:500]


def _log(
    level: int, text: str, error: Exception, attempt: int, wait: float, using: str | None = None
) -> None:
    logger.log(
        level,
        "%s: %s; trying again in %s s",
        text,
        describe(error),
        round(wait, 3),
        extra={
            "event": "retry",
            "using": using,
            "attempt": attempt + 1,
            "wait": wait,
            "error": describe(error),
        },
    )
