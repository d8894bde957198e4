"""What follows from changes to users: ``connect`` listens to Django's signals for them."""

from .connecting import connect, forget_snapshot

__all__ = ["connect", "forget_snapshot"]
