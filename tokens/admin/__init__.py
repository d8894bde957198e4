"""The admin: to find out whose tokens were revoked, when and why, and to end sessions.

It reads, but for two acts that need a right of their own and are logged: un-revoking an entry,
and ending sessions.
"""

from .entries import BlacklistEntryAdmin
from .runs import CleanupRunAdmin
from .sessions import TokenSessionAdmin
from .users import SessionsLinkMixin

__all__ = ["BlacklistEntryAdmin", "CleanupRunAdmin", "SessionsLinkMixin", "TokenSessionAdmin"]
