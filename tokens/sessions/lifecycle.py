"""Start, rotate and end sessions: with ``login`` and ``rotation``, the only writer of their rows.

(The cleanup removes expired ones.)

A session is one login. Its row names the one refresh token that may be used next, and rotation
is a compare-and-swap on that name: the database lets one client through.
"""

import hmac
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.dispatch import Signal

from .. import blacklist, clock, entries, passwords, users
from ..claims import Claims
from ..conf import conf, simplejwt
from ..exceptions import LoginEnded, TokenReused, TokenRevoked, UserChanged
from ..keys import session_uuid
from ..models import BlacklistEntry, TokenSession
from ..querysets import SessionQuerySet
from ..signals import (
    refresh_reuse_detected,
    send_after_commit,
    session_ended,
    session_refreshed,
    session_started,
)
from . import inherited, login, rotation
from .finding import adopted
from .keeping import kept_sid
from .rotation import Successor as Successor  # for callers of ``rotate``

logger = logging.getLogger("tokens")

Reason = BlacklistEntry.Reason


def start(user: Any, refresh: Claims, *, continues: Claims | None = None) -> TokenSession:
    """Record a login whose refresh token has these claims, ``sid`` among them. One statement.

    ``continues`` is the token without ``sid`` that was used up for it. If it was imported as a
    session, that session goes on, in two more statements.

    With TOKENS_MAX_SESSIONS_PER_USER, a second statement looks for sessions beyond the limit, and
    the oldest of them end.

    Raises UserChanged if the user's row has another password by now, is inactive although ``user``
    is not, or is gone, and databases.UnsupportedDatabase, because such a login could never be
    ended. Raises TokenRevoked if an imported session has another password, or ended meanwhile.
    """
    using = blacklist.database()
    session = login.new(user, refresh, auth_hash=passwords.auth_hash(user), continues=continues)
    try:
        login.insert(session, user, using=using, unless_known=continues is not None)
    except UserChanged:
        known = inherited.go_on(user, refresh, continues, using=using) if continues else None
        if known is None:
            raise
        _tell(session_refreshed, known.sid, user.pk)
        return known
    _tell(session_started, session.sid, user.pk)
    if limit := conf.TOKENS_MAX_SESSIONS_PER_USER:
        surplus = login.beyond(limit, user.pk, using=using)
        if surplus:
            end_many(_rows().filter(sid__in=surplus), reason=Reason.LIMIT, sids=surplus)
    return session


def extend(session: TokenSession, expires_at: datetime) -> None:
    """Move the end of a session to the real end of its newest refresh token."""
    session.expires_at = expires_at
    _rows().filter(sid=session.sid, refresh_jti=session.refresh_jti).update(expires_at=expires_at)


def rotate(session: TokenSession, claims: Claims, new: Successor) -> Successor:
    """Replace the refresh token ``claims`` of ``session`` by ``new``; return the one that counts.

    One client wins. Within TOKENS_ROTATION_GRACE the others get the successor that it made. After
    that, and for any older ancestor, the token was stolen (RFC 9700, section 4.14.2): the session
    is ended and TokenReused raised. A session that was ended meanwhile raises TokenRevoked.
    """
    hashes = _check_password(session, claims)
    using = blacklist.database()
    successor = rotation.replace(session, claims, new, using=using, also=hashes)
    if successor is None:
        successor = inherited.take_over(session, claims, new, using=using, also=hashes)
    if successor == new:
        _tell(session_refreshed, session.sid, session.user_id)
    if successor is not None:
        return successor
    end(claims, reason=Reason.REUSE)
    logger.warning(
        "refresh token reused: session %s of user %s ended",
        session.sid,
        session.user_id,
        extra={"event": "refresh_reuse_detected", "sid": str(session.sid)},
    )
    _tell(refresh_reuse_detected, session.sid, session.user_id)
    raise TokenReused


def touch(session: TokenSession, claims: Claims) -> None:
    """Record a use of ``session`` that does not rotate; raise TokenRevoked if it has ended."""
    hashes = _check_password(session, claims)
    if not rotation.touch(session, claims, using=blacklist.database(), also=hashes):
        raise TokenRevoked
    _tell(session_refreshed, session.sid, session.user_id)


def end(claims: Claims, *, reason: str = Reason.LOGOUT) -> tuple[BlacklistEntry, bool]:
    """End the login that a token belongs to; a token without ``sid`` ends by itself.

    Returns the blacklist entry and whether it is new. The entry is written first, so that a crash
    in between leaves a row that is refused, never a token that is accepted.
    """
    if claims.sid is None:
        answer = blacklist.revoke_token(claims, reason=reason)
        # A session continues it if it has been used, or imported.
        if _rows().named(adopted(claims).sid or "").exists():
            end(adopted(claims), reason=reason)
        return answer
    rows = _rows().named(claims.sid)
    session = rows.first()
    ends = [claims.expires_at, clock.now() + simplejwt.ACCESS_TOKEN_LIFETIME]
    if session:
        ends.append(session.expires_at)
        if entries.may_outlive(session):
            ends.append(entries.end_for_user(clock.now()))
    answer = blacklist.revoke_session(
        claims.sid,
        user_pk=session.user_id if session else users.pk_of(claims, ask=False),
        expires_at=max(ends),
        reason=reason,
    )
    if session and rows.delete()[0]:
        _tell(session_ended, session.sid, session.user_id, reason=reason)
    return answer


def end_many(
    rows: SessionQuerySet, *, reason: str, using: str | None = None, sids: Sequence[UUID] = ()
) -> int:
    """End all these sessions and return how many: two statements, whatever their number.

    If ``session_ended`` has a receiver, a third statement lists them.

    ``sids``: the ids of ``rows``, if known. They let cached checks keep their snapshot. If several
    are given, each must belong to a live or an ended session; a single one may be unknown.
    """
    if rows.query.is_empty():
        return 0
    using = using or blacklist.database()
    rows = rows.using(using)
    listening = session_ended.has_listeners(TokenSession)
    ended = list(rows.values_list("sid", "user_id")) if listening else []
    blacklist.revoke_sessions(rows, reason=reason, using=using, sids=sids)
    # A session that started since then has no entry and stays.
    refused = BlacklistEntry.objects.using(using).filter(key=OuterRef("sid"))
    number = rows.filter(Exists(refused)).order_by().delete()[0]
    for sid, user_id in ended:
        _tell(session_ended, sid, user_id, using=using, reason=reason)
    return number


def end_by_ids(sids: Sequence[UUID], *, reason: str) -> int:
    """End the sessions with these ids and return how many: a few statements for each 500."""
    parts = (sids[start : start + 500] for start in range(0, len(sids), 500))
    return sum(end_many(_rows().filter(sid__in=part), reason=reason, sids=part) for part in parts)


def end_all(
    user: Any,
    *,
    reason: str = Reason.LOGOUT_ALL,
    but: str | None = None,
    using: str | None = None,
) -> int:
    """Log ``user`` out everywhere, or everywhere but in the session ``but``; return how many ended.

    Tokens without ``sid`` that were issued so far are refused too. The number of statements does
    not depend on the number of sessions. The lock on the user's row keeps a token without ``sid``
    from becoming a session meanwhile (``RefreshToken.use``).
    """
    using = using or blacklist.database()
    user_id = str(getattr(user, simplejwt.USER_ID_FIELD))
    with transaction.atomic(using):
        users.lock(pk=user.pk, using=using)
        blacklist.revoke_user(user.pk, user_id, reason=reason, using=using)
        rows = _rows(using).of_user(user.pk)
        if but is not None and (kept := session_uuid(but)):
            rows = rows.exclude(sid=kept)
        return end_many(rows, reason=reason, using=using)


def end_one(user: Any, sid: str, *, reason: str = Reason.LOGOUT) -> bool:
    """End the session ``sid`` of ``user``; return False if the user has none of that id."""
    uuid = session_uuid(sid)
    rows = _rows().named(sid).of_user(user.pk)
    return bool(end_many(rows, reason=reason, sids=[uuid] if uuid else []))


def of_user(user: Any) -> SessionQuerySet:
    """Return the live sessions of ``user``, the one used last first."""
    return _rows().of_user(user.pk).live().order_by("-last_used_at", "-sid")


def rehash(user: AbstractBaseUser, before: AbstractBaseUser) -> None:
    """Keep the sessions of a user whose unchanged password got a new hash."""
    rows = _rows().of_user(before.pk).filter(auth_hash__in=passwords.auth_hashes(before))
    rows.update(auth_hash=passwords.auth_hash(user))


def end_for_new_password(user: AbstractBaseUser, before: AbstractBaseUser) -> int:
    """End all sessions that began under ``before``, and return how many.

    The session that ``keeping`` names stays and goes on under the new password.
    """
    using, kept = blacklist.database(), kept_sid()
    with transaction.atomic(using):
        number = end_all(before, reason=Reason.PASSWORD_CHANGE, but=kept, using=using)
        if kept:
            rows = _rows(using).named(kept).of_user(before.pk)
            rows.update(auth_hash=passwords.auth_hash(user))
        return number


def _tell(
    signal: Signal, sid: UUID, user_id: Any, *, using: str | None = None, **arguments: Any
) -> None:
    send_after_commit(
        signal,
        TokenSession,
        using=using or blacklist.database(),
        sid=str(sid),
        user_id=user_id,
        **arguments,
    )


def _rows(using: str | None = None) -> SessionQuerySet:
    return TokenSession.objects.using(using or blacklist.database())


def _check_password(session: TokenSession, claims: Claims) -> dict[str, str]:
    """End a session that began under another password, if that counts.

    Return the columns to write if the session stays: a new hash if it has that of another key, or
    of another password. Raises LoginEnded.
    """
    current = passwords.auth_hash(session.user)
    if hmac.compare_digest(session.auth_hash, current):
        return {}
    if not passwords.may_go_on(session.auth_hash, session.user):
        end(claims, reason=Reason.PASSWORD_CHANGE)
        raise LoginEnded
    return {"auth_hash": current}
