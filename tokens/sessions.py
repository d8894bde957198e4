"""Start, rotate and end sessions: the only writer of session rows.

A session is one login. Its row names the one refresh token that may be used next, and rotation
is a compare-and-swap on that name: the database lets one client through.
"""

import hmac
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser

from . import blacklist, clock
from .claims import Claims
from .conf import conf, simplejwt
from .exceptions import TokenReused, TokenRevoked
from .models import BlacklistEntry, TokenSession
from .querysets import SessionQuerySet

logger = logging.getLogger("tokens")


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, as far as a session keeps it."""

    ip_address: str | None = None
    user_agent: str = ""


_NOBODY = Client()
_client: ContextVar[Client] = ContextVar("client", default=_NOBODY)


@contextmanager
def used_by(client: Client) -> Iterator[None]:
    """Let sessions that are started or refreshed in this context remember ``client``."""
    reset = _client.set(client)
    try:
        yield
    finally:
        _client.reset(reset)


@dataclass(frozen=True, slots=True)
class Successor:
    """The refresh token that follows another: its id and its two moments."""

    jti: str
    issued_at: datetime
    expires_at: datetime


def start(user: Any, *, sid: str, jti: str, expires_at: datetime) -> TokenSession:
    """Record a login whose refresh token is ``jti`` and ends at ``expires_at``. One statement."""
    return TokenSession.objects.using(blacklist.database()).create(
        sid=UUID(sid),
        user=user,
        refresh_jti=jti,
        auth_hash=_auth_hash(user),
        expires_at=expires_at,
        **_metadata(),
    )


def extend(session: TokenSession, expires_at: datetime) -> None:
    """Move the end of a session to the real end of its newest refresh token."""
    session.expires_at = expires_at
    _rows().filter(sid=session.sid, refresh_jti=session.refresh_jti).update(expires_at=expires_at)


def accepts(claims: Claims) -> bool:
    """Return whether a refresh token with these claims may be used. One statement, no write.

    Tokens with a ``sid`` need the row of their session, so they fail closed even if the
    blacklist were empty; tokens without one need only that no entry refuses them.
    """
    if claims.sid is None:
        return not blacklist.is_revoked(claims)
    return _rows().accepting(claims).exclude(blacklist.refused(claims)).exists()


def find(claims: Claims) -> TokenSession:
    """Return the live session of a refresh token, with its user: one statement.

    Raises TokenRevoked when the session has ended, its user is gone, an entry refuses the token,
    or the token names another user than the session.
    """
    session: Any = (
        _rows()
        .named(claims.sid or "")
        .select_related("user")
        .annotate(refused_token=blacklist.refused(claims))
        .first()
    )
    if session is None or session.refused_token or not blacklist.is_user(session.user, claims):
        raise TokenRevoked
    return cast(TokenSession, session)


def rotate(session: TokenSession, claims: Claims, new: Successor) -> Successor:
    """Replace the refresh token ``claims`` of ``session`` by ``new``; return the one that counts.

    One client wins. Within TOKENS_ROTATION_GRACE the others get the successor that it made. After
    that, and for any older ancestor, the token was stolen (RFC 9700, section 4.14.2): the session
    is ended and TokenReused raised. A session that was ended meanwhile raises TokenRevoked.
    """
    _check_password(session, claims)
    if session.refresh_jti == claims.jti:
        changed = _newest(session, claims).update(
            refresh_jti=new.jti,
            previous_jti=claims.jti,
            rotated_at=new.issued_at,
            last_used_at=new.issued_at,
            expires_at=new.expires_at,
            **_metadata(),
        )
        if changed:
            return new
        reread = _rows().filter(sid=session.sid).first()
        if reread is None:
            raise TokenRevoked
        session = reread
    if (successor := _graceful(session, claims)) is not None:
        return successor
    end(claims, reason=blacklist.Reason.REUSE)
    logger.warning(
        "refresh token reused: session %s of user %s ended",
        session.sid,
        session.user_id,
        extra={"event": "refresh_reuse_detected", "sid": str(session.sid)},
    )
    raise TokenReused


def touch(session: TokenSession, claims: Claims) -> None:
    """Record a use of ``session`` that does not rotate; raise TokenRevoked if it has ended."""
    _check_password(session, claims)
    if not _newest(session, claims).update(last_used_at=clock.now(), **_metadata()):
        raise TokenRevoked


def end(claims: Claims, *, reason: str = blacklist.Reason.LOGOUT) -> tuple[BlacklistEntry, bool]:
    """End the login that a token belongs to; a token without ``sid`` ends by itself.

    Returns the blacklist entry and whether it is new. The entry is written first, so that a crash
    in between leaves a row that is refused, never a token that is accepted.
    """
    if claims.sid is None:
        return blacklist.revoke_token(claims, reason=reason)
    rows = _rows().named(claims.sid)
    session = rows.first()
    ends = [claims.expires_at, clock.now() + simplejwt.ACCESS_TOKEN_LIFETIME]
    if session:
        ends.append(session.expires_at)
    answer = blacklist.revoke_session(
        claims.sid,
        issuer=claims.issuer,
        user_pk=session.user_id if session else blacklist.user_pk(claims),
        expires_at=max(ends),
        reason=reason,
    )
    if session:
        rows.delete()
    return answer


def _rows() -> SessionQuerySet:
    return TokenSession.objects.using(blacklist.database())


def _newest(session: TokenSession, claims: Claims) -> SessionQuerySet:
    return _rows().filter(sid=session.sid, refresh_jti=claims.jti)


def _graceful(session: TokenSession, claims: Claims) -> Successor | None:
    """Return the successor of the token that was rotated last, if that was a moment ago.

    ``rotated_at`` is set once, by the client that won, so the window never renews itself.
    """
    rotated_at = session.rotated_at
    if session.previous_jti != claims.jti or rotated_at is None:
        return None
    if rotated_at <= clock.now() - conf.TOKENS_ROTATION_GRACE:
        return None
    return Successor(session.refresh_jti, rotated_at, session.expires_at)


def _auth_hash(user: AbstractBaseUser) -> str:
    return user.get_session_auth_hash()


def _check_password(session: TokenSession, claims: Claims) -> None:
    """End a session that began under another password; SECRET_KEY_FALLBACKS are honoured."""
    user = session.user
    known = (_auth_hash(user), *user.get_session_auth_fallback_hash())
    if not any(hmac.compare_digest(session.auth_hash, value) for value in known):
        end(claims, reason=blacklist.Reason.PASSWORD_CHANGE)
        raise TokenRevoked


def _metadata() -> dict[str, Any]:
    if not conf.TOKENS_SESSION_METADATA:
        return {}
    client = _client.get()
    return {"ip_address": client.ip_address, "user_agent": client.user_agent[:255]}
