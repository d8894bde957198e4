"""Leave simplejwt's blacklist app: copy what it refuses, then drop its tables.

``run`` copies, ``drop`` drops, and ``pending`` says what is left to do. ``forget_users`` keeps the
tables from standing in the way of deleting users.
"""

from .dropping import WAIT, Dropped, NotImported, drop
from .pending import Pending, pending
from .report import Report
from .users import forget_users
from .work import count, run

__all__ = [
    "WAIT",
    "Dropped",
    "NotImported",
    "Pending",
    "Report",
    "count",
    "drop",
    "forget_users",
    "pending",
    "run",
]
