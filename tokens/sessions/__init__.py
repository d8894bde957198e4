"""Sessions: start, rotate, end and list them. The only writer of their rows.

A session is one login. Its row names the one refresh token that may be used next.
"""

from .ages import check_age, latest_end, lifetime_given, login_of
from .asynchronous import aend, aend_all, aend_for, aend_one
from .clusters import Repeatable, again_after_commit
from .devices import device, device_of
from .ending import (
    Reason,
    end,
    end_all,
    end_by_ids,
    end_for_new_password,
    end_many,
    end_one,
)
from .finding import accepting, adopted, continuing, find
from .groups import Ended, end_for
from .inherited import Imported, hand_over, start_imported
from .keeping import keeping
from .lifecycle import Successor, extend, of_user, rehash, rotate, start, touch
from .reasons import recorded_reason

__all__ = [
    "Ended",
    "Imported",
    "Reason",
    "Repeatable",
    "Successor",
    "accepting",
    "adopted",
    "aend",
    "aend_all",
    "aend_for",
    "aend_one",
    "again_after_commit",
    "check_age",
    "continuing",
    "device",
    "device_of",
    "end",
    "end_all",
    "end_by_ids",
    "end_for",
    "end_for_new_password",
    "end_many",
    "end_one",
    "extend",
    "find",
    "hand_over",
    "keeping",
    "latest_end",
    "lifetime_given",
    "login_of",
    "of_user",
    "recorded_reason",
    "rehash",
    "rotate",
    "start",
    "start_imported",
    "touch",
]
