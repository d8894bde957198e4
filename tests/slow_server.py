"""The demo project for an ASGI server, with a cleanup that takes its time: a row a second."""

import time
from functools import partial
from typing import Any

from project.asgi import application
from tokens import cleanup
from tokens.cleanup import batches

__all__ = ["application"]

_delete = batches.delete


def _slowly(rows: Any, cutoff: Any, **more: Any) -> Any:
    time.sleep(1)
    return _delete(rows, cutoff, **more)


batches.delete = _slowly
cleanup.run = partial(cleanup.run, batch_size=1)
