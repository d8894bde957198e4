"""Tell of sessions: signals for the project, and records for its log. Nothing here decides.

Both carry the same facts: those of the session, and who acts from where.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.dispatch import Signal

from .. import blacklist, origin
from ..log import logger
from ..models import TokenSession
from ..signals import send_after_commit, session_ended, session_started

# What is told of a session.
FACTS = ("sid", "user_id", "created_at", "ip_address", "user_agent", "device_name")

# The most ids that a record shows.
_IDS = 100

_TEXTS = {
    session_started: ("session_started", "session %s of user %s started"),
    session_ended: ("session_ended", "session %s of user %s ended"),
}


def tell(
    signal: Signal, session: TokenSession, *, using: str | None = None, **arguments: Any
) -> None:
    """Send ``signal`` about ``session`` after the commit, or now if there is no transaction."""
    if signal.has_listeners(TokenSession):
        using = using or blacklist.database()
        send_after_commit(signal, TokenSession, using=using, **facts(session), **arguments)


def tell_and_log(signal: Signal, session: TokenSession, **arguments: Any) -> None:
    """Send ``signal`` about ``session``, and write a record with the same facts to the log."""
    tell(signal, session, **arguments)
    if logger.writes(logging.INFO):
        event, text = _TEXTS[signal]
        said = in_record(session, event, **arguments)
        _log_after_commit(blacklist.database(), text, session.sid, session.user_id, extra=said)


def log_many(number: int, *, sids: Sequence[UUID], reason: str, using: str) -> None:
    """Write to the log that sessions ended; ``sids`` are their ids, as far as they are known."""
    if logger.writes(logging.INFO):
        said = _as_texts({"event": "sessions_ended", "reason": reason} | asdict(origin.doing()))
        said |= {"sessions": number, "sids": [str(sid) for sid in sids[:_IDS]]}
        _log_after_commit(using, "%d session(s) ended: %s", number, said["reason"], extra=said)


def facts(session: TokenSession) -> dict[str, Any]:
    """Return what signals and log records say of a session and of what is done to it."""
    known = {name: getattr(session, name) for name in FACTS}
    return known | {"sid": str(session.sid)} | asdict(origin.doing())


def in_record(session: TokenSession, event: str, **more: Any) -> dict[str, Any]:
    """Return the fields of a log record about ``session``."""
    return _as_texts({"event": event, **facts(session), **more})


def _as_texts(said: dict[str, Any]) -> dict[str, Any]:
    names = {"user_id", "by", "reason"}.intersection(said)
    return said | {name: str(said[name]) for name in names}


def _log_after_commit(using: str, text: str, *arguments: Any, extra: dict[str, Any]) -> None:
    transaction.on_commit(
        partial(logger.info, text, *arguments, extra=extra), using=using, robust=True
    )
