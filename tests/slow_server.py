"""The demo project for an ASGI server, with a cleanup that takes its time."""

import time

from project.asgi import application
from tokens.querysets import BlacklistQuerySet

__all__ = ["application"]

_delete_batch = BlacklistQuerySet.delete_batch


def _slowly(self, cutoff, *, limit):
    time.sleep(1)
    return _delete_batch(self, cutoff, limit=1) and limit


BlacklistQuerySet.delete_batch = _slowly
