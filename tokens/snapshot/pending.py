"""Revocations that wait for the commit of somebody's transaction, and what follows the commit."""

from collections.abc import Callable
from typing import Any
from weakref import ref

from django.db import connections, transaction

from .. import clock

# Seconds. A revocation whose transaction was open for longer than half of it gets a new moment.
PATIENCE = 30.0


class Revocation:
    """What happens to one revocation once it is committed.

    ``tell`` lets this process know. ``move_up`` gives the entry the present moment; it is called
    when the transaction was open for long, because the copies of other processes are made of what
    was made lately. Whatever it raises reaches the caller: the revocation is not to be answered
    as done.
    """

    def __init__(
        self,
        using: str,
        *,
        begun: float,
        tell: Callable[[], object],
        move_up: Callable[[], object],
    ) -> None:
        self.using = using
        self.begun = begun
        self.tell = tell
        self.move_up = move_up

    def __call__(self) -> None:
        if connections[self.using].in_atomic_block:
            return  # a test only pretends to commit (captureOnCommitCallbacks)
        _waiting.discard(ref(self))
        self.tell()
        if clock.elapsed() - self.begun > PATIENCE / 2:
            self.move_up()
            # A load meanwhile may have read neither the old place nor the new one.
            self.tell()


# Usually empty, so that a check need not look at its connection. A rollback drops the callback,
# and with it the last reference; one that lingers costs checks a look, and changes no answer.
_waiting: set[ref[Revocation]] = set()


def when_committed(revocation: Revocation) -> None:
    """Call ``revocation`` after the commit, before all others; to be called in its transaction.

    Django calls none after one that raises, and one that checks tokens is to see them refused.
    """
    _waiting.add(ref(revocation, _waiting.discard))
    transaction.on_commit(revocation, using=revocation.using)
    connection = connections[revocation.using]
    # A TestCase commits nothing, and captures callbacks by their place in the list.
    blocks: list[Any] = connection.atomic_blocks
    if not any(block._from_testcase for block in blocks):
        connection.run_on_commit.insert(0, connection.run_on_commit.pop())


def is_waiting(using: str) -> bool:
    """Return whether a revocation in the present transaction on ``using`` is not committed yet."""
    if not _waiting:
        return False
    callbacks = connections[using].run_on_commit
    return any(isinstance(callback[1], Revocation) for callback in callbacks)
