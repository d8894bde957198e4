"""Signals for applications, sent with ``send_robust`` after the commit. They carry no secrets.

If a receiver raises, Django logs the exception and the other receivers still run. ``TokenSession``
is the sender of session signals: ``sid`` is the session id as the tokens spell it, ``user_id`` the
primary key of the user. ``CleanupRun`` is the sender of cleanup signals.
"""

from typing import Any

from django.db import transaction
from django.dispatch import Signal

# Arguments: sid, user_id
session_started = Signal()

# Arguments: sid, user_id
session_refreshed = Signal()

# Arguments: sid, user_id, reason (one of BlacklistEntry.Reason)
session_ended = Signal()

# A refresh token was used twice, so someone else may have a copy. The session has been ended.
# Arguments: sid, user_id
refresh_reuse_detected = Signal()

# Arguments: run_id, trigger, using (the alias of the database)
cleanup_started = Signal()

# A batch has been committed. The run waits for the receivers.
# Arguments: run_id, table ("entries", "sessions" or "runs"), removed, seconds, using
cleanup_batch_finished = Signal()

# Arguments: report (the CleanupReport), using (the alias of the database)
cleanup_finished = Signal()
cleanup_failed = Signal()


def send_after_commit(signal: Signal, sender: type, *, using: str, **arguments: Any) -> None:
    """Send ``signal`` when the transaction on ``using`` commits, or now if there is none."""
    if signal.has_listeners(sender):
        transaction.on_commit(
            lambda: signal.send_robust(sender, **arguments), using=using, robust=True
        )
