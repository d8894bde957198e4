"""The admin shows whose tokens were revoked, when and why, and can end sessions.

It is read-only except for two actions, un-revoking entries and ending sessions. Each needs its own
permission and is logged.
"""

from .entries import BlacklistEntryAdmin
from .runs import CleanupRunAdmin
from .sessions import TokenSessionAdmin
from .users import SessionsLinkMixin

__all__ = ["BlacklistEntryAdmin", "CleanupRunAdmin", "SessionsLinkMixin", "TokenSessionAdmin"]
