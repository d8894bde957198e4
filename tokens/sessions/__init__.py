"""Sessions: start, rotate, end and list them. The only writer of their rows.

A session is one login. Its row names the one refresh token that may be used next.
"""

from .finding import accepting, adopted, continuing, find
from .inherited import Imported, hand_over, start_imported
from .keeping import keeping
from .lifecycle import (
    Reason,
    Successor,
    end,
    end_all,
    end_by_ids,
    end_for_new_password,
    end_many,
    end_one,
    extend,
    of_user,
    rehash,
    rotate,
    start,
    touch,
)

__all__ = [
    "Imported",
    "Reason",
    "Successor",
    "accepting",
    "adopted",
    "continuing",
    "end",
    "end_all",
    "end_by_ids",
    "end_for_new_password",
    "end_many",
    "end_one",
    "extend",
    "find",
    "hand_over",
    "keeping",
    "of_user",
    "rehash",
    "rotate",
    "start",
    "start_imported",
    "touch",
]
