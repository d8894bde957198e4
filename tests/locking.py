"""Locks on whole tables, held by another connection, as by a migration or VACUUM FULL."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from .processes import PATIENCE

ENTRIES, SESSIONS, RUNS = (
    "tokens_blacklistentry",
    "tokens_tokensession",
    "tokens_cleanuprun",
)

# A lock that readers don't feel, and one that they do.
MODES = {
    "postgresql": ("SHARE", "ACCESS EXCLUSIVE"),
    "mysql": ("READ", "WRITE"),
    "sqlite": ("IMMEDIATE",),  # the one lock of the file; readers never feel it
}[connection.vendor]

_LOCK, _UNLOCK = {
    "postgresql": ("LOCK TABLE {table} IN {mode} MODE", "ROLLBACK"),
    "mysql": ("LOCK TABLES {table} {mode}", "UNLOCK TABLES"),
    "sqlite": ("BEGIN {mode}", "ROLLBACK"),
}[connection.vendor]

# What a run that does not look at anything else waits for.
AT_LAST = float(PATIENCE)


class Lock:
    """A lock that is held until it is released, or for AT_LAST seconds."""

    def __init__(self, table: str, mode: str) -> None:
        self._connection = connection.copy()
        self._connection.inc_thread_sharing()
        self._gate = threading.Lock()
        with self._connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("BEGIN")
            cursor.execute(_LOCK.format(table=table, mode=mode))
        self.held = True
        self._timer = threading.Timer(AT_LAST, self.release)
        self._timer.start()

    def release_in(self, seconds: float) -> None:
        threading.Timer(seconds, self.release).start()

    def release(self) -> None:
        with self._gate:
            if self.held:
                with self._connection.cursor() as cursor:
                    cursor.execute(_UNLOCK)
                self._connection.close()
                self._timer.cancel()
                self.held = False


@contextmanager
def locked(table: str, mode: str = MODES[0]) -> Iterator[Lock]:
    """Let somebody else hold a lock on the table."""
    lock = Lock(table, mode)
    try:
        yield lock
    finally:
        lock.release()
