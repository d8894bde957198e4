"""Start and rotate sessions: with ``login``, ``rotation`` and ``ending``, the only writer of rows.

(The cleanup removes expired ones.)

A session is one login. Its row names the one refresh token that may be used next, and rotation
is a compare-and-swap on that name: the database lets one client through.
"""

import hmac
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import connections

from .. import blacklist, databases, passwords, retry
from ..claims import Claims
from ..conf import conf
from ..exceptions import ClientReason, LoginEnded, TokenReused, TokenRevoked, UserChanged
from ..log import logger
from ..models import TokenSession
from ..querysets import SessionQuerySet
from ..signals import (
    refresh_reuse_detected,
    session_refreshed,
    session_started,
)
from . import clusters, inherited, login, rotation
from .ending import Reason, end, end_many, rows_of
from .rotation import Successor as Successor  # for callers of ``rotate``
from .telling import in_record, tell, tell_and_log


def start(
    user: Any,
    refresh: Claims,
    *,
    lifetime: timedelta | None = None,
    continues: Claims | None = None,
) -> TokenSession:
    """Record a login whose refresh token has these claims, ``sid`` among them. One statement.

    ``lifetime`` is that of each of its refresh tokens, if it is not that of the settings.

    ``continues`` is the token without ``sid`` that was used up for it. If it was imported as a
    session, that session goes on, in two more statements.

    With TOKENS_MAX_SESSIONS_PER_USER, a second statement looks for sessions beyond the limit, and
    the oldest of them end.

    Raises UserChanged if the user's row has another password by now, is inactive although ``user``
    is not, or is gone, and databases.UnsupportedDatabase, because such a login could never be
    ended. Raises TokenRevoked if an imported session has another password, or ended meanwhile.
    """
    using = blacklist.database()
    auth_hash = passwords.auth_hash(user)
    session = login.new(user, refresh, auth_hash=auth_hash, lifetime=lifetime, continues=continues)
    try:
        login.insert(session, user, using=using, unless_known=continues is not None)
    except UserChanged:
        if continues is None:
            raise
        known = inherited.go_on(user, refresh, continues, lifetime=lifetime, using=using)
        if known is None:
            raise
        tell(session_refreshed, known)
        return known
    tell_and_log(session_started, session, adopted=continues is not None)
    clusters.confirm(session, user, continues=continues, using=using)
    _end_surplus(user, using=using)
    return session


def _end_surplus(user: Any, *, using: str) -> None:
    """End the oldest sessions of ``user`` beyond TOKENS_MAX_SESSIONS_PER_USER."""
    limit = conf.TOKENS_MAX_SESSIONS_PER_USER
    if limit and (surplus := retry.lost_races(login.beyond)(limit, user.pk, using=using)):
        end_many(rows_of().filter(sid__in=surplus), reason=Reason.LIMIT, sids=surplus)


@retry.lost_races
def extend(session: TokenSession, expires_at: datetime, *, lifetime: timedelta | None) -> None:
    """Move the end of a session to the real end of its newest refresh token.

    ``lifetime`` is that of the token, and of those that follow it.
    """
    session.expires_at, session.lifetime = expires_at, lifetime
    rows = rows_of().filter(sid=session.sid, refresh_jti=session.refresh_jti)
    rows.update(expires_at=expires_at, lifetime=lifetime)


def rotate(session: TokenSession, claims: Claims, new: Successor) -> Successor:
    """Replace the refresh token ``claims`` of ``session`` by ``new``; return the one that counts.

    One client wins. Within TOKENS_ROTATION_GRACE the others get the successor that it made. After
    that, and for any older ancestor, the token was stolen (RFC 9700, section 4.14.2): the session
    is ended and TokenReused raised. A session that was ended meanwhile raises TokenRevoked.
    """
    hashes = _check_password(session, claims)
    using = blacklist.database()
    successor = _replace(session, claims, new, using=using, also=hashes)
    if successor is None and databases.catch_up(connections[using]):
        # A node that lags takes the newest token of a session for an old one.
        session = rotation.reread(session, using=using)
        successor = _replace(session, claims, new, using=using, also=hashes)
    if successor == new:
        tell(session_refreshed, session)
    if successor is not None:
        return successor
    end(claims, reason=Reason.REUSE)
    logger.warning(
        "refresh token reused: session %s of user %s ended. It was stolen, unless the database has"
        " lost or does not know yet what it was exchanged for (failover, restored backup, replica)",
        session.sid,
        session.user_id,
        extra=in_record(session, "refresh_reuse_detected"),
    )
    tell(refresh_reuse_detected, session)
    raise TokenReused


@retry.lost_races
def _replace(
    session: TokenSession, claims: Claims, new: Successor, **options: Any
) -> Successor | None:
    successor = rotation.replace(session, claims, new, **options)
    return successor or inherited.take_over(session, claims, new, **options)


def touch(session: TokenSession, claims: Claims) -> None:
    """Record a use of ``session`` that does not rotate; raise TokenRevoked if it has ended."""
    hashes = _check_password(session, claims)
    touch_row = retry.lost_races(rotation.touch)
    if not touch_row(session, claims, using=blacklist.database(), also=hashes):
        raise TokenRevoked
    tell(session_refreshed, session)


def of_user(user: Any) -> SessionQuerySet:
    """Return the live sessions of ``user``, the one used last first."""
    return rows_of().of_user(user.pk).live().order_by("-last_used_at", "-sid")


@retry.lost_races
def rehash(user: AbstractBaseUser, before: AbstractBaseUser) -> None:
    """Keep the sessions of a user whose unchanged password got a new hash."""
    rows = rows_of().of_user(before.pk).filter(auth_hash__in=passwords.auth_hashes(before))
    rows.update(auth_hash=passwords.auth_hash(user))


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
        raise LoginEnded(ClientReason.PASSWORD_CHANGED)
    return {"auth_hash": current}
