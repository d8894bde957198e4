"""Remove what has expired, and tell how that goes: ``run``, ``preview``, ``status``, ``waiting``.

``work`` begins a run and takes the ``lease``. ``removal`` deletes ``batches`` at a ``pace`` until
all is done or the run has reached its ``limits``, tells the log and the listeners (``events``), and
returns a ``report``. Both use ``attempts``, which no lock holds up for long.
``backlog`` asks what waits, and when a run succeeded last; ``expiries`` asks since when it waits.
"""

from .backlog import BACKLOG_LIMIT, TICK, Preview, Status, due_in, preview, status
from .expiries import waiting
from .lease import at_work
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
    "at_work",
    "due_in",
    "preview",
    "run",
    "status",
    "waiting",
]
