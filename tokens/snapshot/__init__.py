"""Cached checks: answer from a snapshot in this process instead of asking the database.

``refuses`` answers from the snapshot. The blacklist tells it by ``when_committed``, ``note``,
``distrust`` and ``forget`` what this process has changed. ``facts`` says how it does. ``reset``
lets tests begin anew, with a ``DatabaseSnapshot`` of other ``Limits`` or ``Clocks``.
"""

from .clocks import Clocks
from .database import DatabaseSnapshot
from .facts import Facts
from .limits import Limits
from .pending import Revocation
from .recent import obstacle
from .snapshots import distrust, facts, forget, note, refuses, reset, when_committed

__all__ = [
    "Clocks",
    "DatabaseSnapshot",
    "Facts",
    "Limits",
    "Revocation",
    "distrust",
    "facts",
    "forget",
    "note",
    "obstacle",
    "refuses",
    "reset",
    "when_committed",
]
