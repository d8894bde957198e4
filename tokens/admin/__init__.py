"""The admin: to find out whose tokens were revoked, when and why. It reads; one act writes."""

from .entries import BlacklistEntryAdmin
from .runs import CleanupRunAdmin
from .sessions import TokenSessionAdmin

__all__ = ["BlacklistEntryAdmin", "CleanupRunAdmin", "TokenSessionAdmin"]
