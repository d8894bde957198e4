"""Keep one session while its user changes the password."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from django.db import transaction

from .. import blacklist
from ..claims import Claims
from ..keys import session_uuid

_kept: ContextVar[str | None] = ContextVar("kept", default=None)


@contextmanager
def keeping(session: Any) -> Iterator[None]:
    """Let this session survive a new password that its user gets in this context.

    ``session`` is an access or refresh token, already verified (``request.auth`` of a DRF view), or
    the id of a session. Anything else, such as None, keeps no session; a text that is no such id
    raises ValueError. The context is one transaction: a refresh of the kept session sees the new
    password and the new hash, or neither.
    """
    reset = _kept.set(_sid_of(session))
    try:
        with transaction.atomic(blacklist.database()):
            yield
    finally:
        _kept.reset(reset)


def kept_sid() -> str | None:
    """Return the id of the session that survives a new password, or None."""
    return _kept.get()


def _sid_of(session: Any) -> str | None:
    if isinstance(session, UUID | str):
        if session_uuid(str(session)) is None:
            raise ValueError("This is not the id of a session. If it is a token, decode it first.")
        return str(session)
    return Claims.of(session).sid if hasattr(session, "payload") else None
