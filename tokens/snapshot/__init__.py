"""Cached checks: answer from a snapshot in this process instead of asking the database.

``refuses`` answers from the snapshot, and ``refuses_at_once`` only if that takes no time. The
blacklist tells it by ``when_committed``, ``note``, ``distrust`` and ``forget`` what this process
has changed. ``publish`` gives the same entries to readers elsewhere (``tokens.feed``). ``facts``
says how it does. ``reset`` lets tests begin anew, with a ``DatabaseSnapshot`` of other ``Limits``
or ``Clocks``.
"""

from .clocks import Clocks
from .database import DatabaseSnapshot
from .facts import Facts
from .limits import Limits
from .pending import Revocation
from .publishing import CursorInvalid, NotPublished, Publication, publish
from .recent import obstacle
from .snapshots import (
    distrust,
    facts,
    forget,
    note,
    refuses,
    refuses_at_once,
    reset,
    when_committed,
)

__all__ = [
    "Clocks",
    "CursorInvalid",
    "DatabaseSnapshot",
    "Facts",
    "Limits",
    "NotPublished",
    "Publication",
    "Revocation",
    "distrust",
    "facts",
    "forget",
    "note",
    "obstacle",
    "publish",
    "refuses",
    "refuses_at_once",
    "reset",
    "when_committed",
]
