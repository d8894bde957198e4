"""What an application may want to know. Sent after commit, by ``send_robust``, without secrets.

A receiver that raises is logged by Django and disturbs nobody. What is about sessions is sent by
``TokenSession``; ``sid`` is the session's id as its tokens spell it, ``user_id`` the primary key of
its user. What is about the cleanup is sent by ``CleanupRun``.
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

# A refresh token was used twice: somebody else has it. The session has been ended.
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
    """Send ``signal`` once the transaction on ``using`` is committed, at once outside of one."""
    if signal.has_listeners(sender):
        transaction.on_commit(
            lambda: signal.send_robust(sender, **arguments), using=using, robust=True
        )
