"""Remove what has expired, and tell how that goes: ``run``, ``preview`` and ``status``.

``work`` is a run. It takes the ``lease``, deletes ``batches`` at a ``pace`` until it is done or has
reached its ``limits``, tells the log and the listeners (``events``), and returns a ``report``.
``backlog`` asks what waits, and when a run succeeded last.
"""

from .backlog import BACKLOG_LIMIT, TICK, Preview, Status, due_in, preview, status
from .limits import LEASE_LOST
from .report import CleanupReport
from .work import NOT_DUE, RUNNING_ELSEWHERE, SKIPPED, Outcome, run

__all__ = [
    "BACKLOG_LIMIT",
    "LEASE_LOST",
    "NOT_DUE",
    "RUNNING_ELSEWHERE",
    "SKIPPED",
    "TICK",
    "CleanupReport",
    "Outcome",
    "Preview",
    "Status",
    "due_in",
    "preview",
    "run",
    "status",
]
