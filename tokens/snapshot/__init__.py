"""Cached checks: answer from a snapshot in this process instead of asking the database.

``refuses`` answers from the snapshot. The blacklist tells it by ``when_committed``, ``note``,
``distrust`` and ``forget`` what this process has changed. ``facts`` says how it does.
"""

from .pending import Revocation, when_committed
from .recent import obstacle
from .snapshots import Facts, distrust, facts, forget, note, refuses, reset

__all__ = [
    "Facts",
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
