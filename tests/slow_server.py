"""The demo project for an ASGI server, with a cleanup that takes its time: a row a second."""

import time
from functools import partial

from project.asgi import application
from tokens import cleanup
from tokens.querysets import BlacklistQuerySet

__all__ = ["application"]

_delete_batch = BlacklistQuerySet.delete_batch


def _slowly(self, cutoff, **more):
    time.sleep(1)
    return _delete_batch(self, cutoff, **more)


BlacklistQuerySet.delete_batch = _slowly
cleanup.run = partial(cleanup.run, batch_size=1)
