"""Remove what has expired, and tell how that goes: ``run``, ``preview`` and ``status``.

``work`` is a run. It takes the ``lease``, deletes ``batches`` at a ``pace``, tells the log and the
listeners (``events``), and returns a ``report``. ``backlog`` asks what waits, and when a run
succeeded last.
"""

from .backlog import BACKLOG_LIMIT, TICK, Group, Preview, Status, cutoff, due_in, preview, status
from .report import CleanupReport
from .trend import LEFT_LIMIT
from .work import (
    ASKED,
    HISTORY,
    LEASE_LOST,
    NOT_DUE,
    OUT_OF_TIME,
    RUNNING_ELSEWHERE,
    SKIPPED,
    Outcome,
    run,
)

__all__ = [
    "ASKED",
    "BACKLOG_LIMIT",
    "HISTORY",
    "LEASE_LOST",
    "LEFT_LIMIT",
    "NOT_DUE",
    "OUT_OF_TIME",
    "RUNNING_ELSEWHERE",
    "SKIPPED",
    "TICK",
    "CleanupReport",
    "Group",
    "Outcome",
    "Preview",
    "Status",
    "cutoff",
    "due_in",
    "preview",
    "run",
    "status",
]
