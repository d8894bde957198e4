"""The admin shows whose tokens were revoked, when and why, and can end sessions.

It is read-only except for three actions: un-revoking entries, ending sessions, and revoking a token
that was looked up. Each needs a permission of its own and is logged.
"""

from .entries import BlacklistEntryAdmin
from .lookup import LookupAdmin
from .runs import CleanupRunAdmin
from .sessions import TokenSessionAdmin
from .users import SessionsLinkMixin

__all__ = [
    "BlacklistEntryAdmin",
    "CleanupRunAdmin",
    "LookupAdmin",
    "SessionsLinkMixin",
    "TokenSessionAdmin",
]
