"""Signals for applications, sent with ``send_robust`` after the commit. They carry no secrets.

If a receiver raises, Django logs the exception and the other receivers still run. ``CleanupRun`` is
the sender of cleanup signals, ``TokenSession`` that of session signals. These have in common:

- of the session, as it was before: ``sid`` (as the tokens spell it), ``user_id`` (the primary key),
  ``created_at``, ``ip_address``, ``user_agent``, ``device_name``;
- of the act: ``by`` (a user's primary key or a text; empty if the holder of the token acts),
  ``note``, ``by_ip_address``, ``by_user_agent``. The last two are those of the request, if there is
  one.
"""

from typing import Any

from django.db import transaction
from django.dispatch import Signal

from .log import only_informs

# Also: adopted (whether it is no login, but the first use of a token of plain simplejwt)
session_started = Signal()

session_refreshed = Signal()

# Also: reason (one of BlacklistEntry.Reason)
session_ended = Signal()

# A refresh token was used twice, so someone else may have a copy. The session has been ended. The
# second use came from ``by_ip_address`` and ``by_user_agent``.
refresh_reuse_detected = Signal()

# Arguments: run_id, trigger, using (the alias of the database)
cleanup_started = Signal()

# A batch has been committed. The run waits for the receivers.
# Arguments: run_id, table ("entries", "sessions" or "runs"), removed, seconds, using
cleanup_batch_finished = Signal()

# Arguments: report (the CleanupReport), using (the alias of the database)
cleanup_finished = Signal()
cleanup_failed = Signal()


def send(signal: Signal, sender: type, **arguments: Any) -> None:
    """Send ``signal``; what a receiver raises is logged, and goes no further."""
    # Django logs it, and that may raise as well.
    with only_informs("a signal could not be sent"):
        signal.send_robust(sender, **arguments)


def send_after_commit(signal: Signal, sender: type, *, using: str, **arguments: Any) -> None:
    """Send ``signal`` when the transaction on ``using`` commits, or now if there is none."""
    if signal.has_listeners(sender):
        transaction.on_commit(lambda: send(signal, sender, **arguments), using=using, robust=True)
