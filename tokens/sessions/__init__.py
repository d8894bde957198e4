"""Sessions: start, rotate, end and list them. The only writer of their rows.

A session is one login. Its row names the one refresh token that may be used next.
"""

from .keeping import keeping
from .lifecycle import (
    Reason,
    Successor,
    accepting,
    adopted,
    end,
    end_all,
    end_by_ids,
    end_for_new_password,
    end_many,
    end_one,
    extend,
    find,
    of_user,
    rehash,
    rotate,
    start,
    touch,
)

__all__ = [
    "Reason",
    "Successor",
    "accepting",
    "adopted",
    "end",
    "end_all",
    "end_by_ids",
    "end_for_new_password",
    "end_many",
    "end_one",
    "extend",
    "find",
    "keeping",
    "of_user",
    "rehash",
    "rotate",
    "start",
    "touch",
]
