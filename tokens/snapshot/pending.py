"""Revocations that wait for a transaction to commit, and what this process does after that."""

from collections.abc import Callable
from typing import Any
from weakref import ref

from django.db import connections, transaction

from .. import clock
from .limits import LIMITS


class Revocation:
    """What this process does once a revocation is committed.

    ``begun`` is a moment of ``clock.elapsed``. ``tell`` lets this process's snapshot know.
    ``move_up`` sets ``created_at`` of the entry to the present moment. It is called if the
    transaction was open for more than half of ``patience`` seconds, because the other processes
    read only what was made lately, and again if that itself takes so long. Whatever it raises
    reaches the caller, who must not answer that the token is revoked.
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
        self.patience = LIMITS.patience

    def __call__(self) -> None:
        if connections[self.using].in_atomic_block:
            return  # a test only pretends to commit (captureOnCommitCallbacks)
        waiting.discard(ref(self))
        self.tell()
        begun = self.begun
        while (now := clock.elapsed()) - begun > self.patience / 2:
            begun = now
            self.move_up()
            # A load that ran meanwhile may have missed the entry in both places.
            self.tell()


# Usually empty, so that a check need not look at its connection. A rollback drops the callback and
# with it the last reference. One that lingers costs each check a look, and changes no answer.
waiting: set[ref[Revocation]] = set()


def when_committed(revocation: Revocation, *, patience: float) -> None:
    """Call ``revocation`` after the commit, before all other callbacks.

    Call this in the transaction. The revocation goes first because Django calls no callback after
    one that raises, and because a callback that checks the token must see it refused.
    """
    revocation.patience = patience
    waiting.add(ref(revocation, waiting.discard))
    transaction.on_commit(revocation, using=revocation.using)
    connection = connections[revocation.using]
    # A TestCase commits nothing, and captures callbacks by their place in the list.
    blocks: list[Any] = connection.atomic_blocks
    if not any(block._from_testcase for block in blocks):
        connection.run_on_commit.insert(0, connection.run_on_commit.pop())


def is_waiting(using: str) -> bool:
    """Return whether the present transaction on ``using`` has revoked something.

    Checks look at ``waiting`` first: it is usually empty, and looking there costs next to nothing.
    """
    callbacks = connections[using].run_on_commit
    return any(isinstance(callback[1], Revocation) for callback in callbacks)
