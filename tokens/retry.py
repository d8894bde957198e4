"""Write in a short transaction of its own, and try again after errors that pass."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction

T = TypeVar("T")

logger = logging.getLogger("tokens")

# A deadlock, a lock time-out, a busy SQLite file, a connection that was cut.
TRANSIENT = (OperationalError, InterfaceError)

# Seconds before the second attempt, the third, and so on.
WAITS = (0.1, 0.5, 2.0)


def write(
    work: Callable[[int], T], *, using: str, wait: Callable[[float], object] = time.sleep
) -> T:
    """Return what ``work`` returns; ``work`` gets the number of the attempt, from zero.

    ``work`` is committed before this returns, so calling it inside a transaction raises
    RuntimeError. If the last attempt fails, its database error is raised.
    """
    attempt = 0
    while True:
        try:
            with transaction.atomic(using, durable=True):
                return work(attempt)
        except TRANSIENT as error:
            if attempt == len(WAITS):
                raise
            logger.warning(
                "a transaction failed: %s; trying again in %s s",
                describe(error),
                WAITS[attempt],
                extra={
                    "event": "retry",
                    "using": using,
                    "attempt": attempt + 1,
                    "wait": WAITS[attempt],
                    "error": describe(error),
                },
            )
        connections[using].close_if_unusable_or_obsolete()
        wait(WAITS[attempt])
        attempt += 1


def describe(error: BaseException) -> str:
    """Return the type and the first line of an error; databases add details on more lines."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])[:500]
