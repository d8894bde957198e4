"""Sessions that came from simplejwt, or that servers of simplejwt still refresh.

The part of ``sessions`` that matters while a project moves from simplejwt's blacklist.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import BooleanField, Expression

from .. import blacklist, clock, old_tables, passwords, retry
from ..claims import Claims
from ..exceptions import ClientReason, TokenRevoked
from ..keys import adopted_sid, key_for
from ..models import BlacklistEntry, TokenSession
from ..querysets import SessionQuerySet
from . import rotation
from .rotation import Successor


@retry.lost_races
def find(claims: Claims, *, using: str) -> TokenSession | None:
    """Return the session that continues a token without ``sid``, or None if there is none."""
    sid = adopted_sid(claims.jti, issuer=claims.issuer, issued_at=claims.issued_at)
    return TokenSession.objects.using(using).named(sid).first()


def go_on(
    user: Any, refresh: Claims, continues: Claims, *, lifetime: timedelta | None, using: str
) -> TokenSession | None:
    """Let the imported session of ``continues`` go on with the refresh token that follows it.

    Returns None if it was not imported. At most two statements. Raises TokenRevoked if the session
    has another password, ended meanwhile, or has a newer token.
    """
    session = find(continues, using=using)
    if session is None:
        return None
    session.user = user
    new = Successor(refresh.jti, refresh.issued_at, refresh.expires_at)
    if not passwords.may_go_on(session.auth_hash, user):
        raise TokenRevoked(ClientReason.PASSWORD_CHANGED)
    also = {"auth_hash": passwords.auth_hash(user), "lifetime": lifetime}
    if rotation.replace(session, continues, new, using=using, also=also) != new:
        raise TokenRevoked
    session.refresh_jti, session.expires_at = new.jti, new.expires_at
    return session


def accepting(rows: SessionQuerySet, claims: Claims) -> SessionQuerySet:
    """Return the session that would still refresh with a refresh token of these claims.

    That may be a token that an old server made of one of ours: it keeps the claim ``sid`` and gives
    the token another jti, which only simplejwt's table knows.
    """
    found = rows.accepting(claims)
    if not old_tables.are_asked(rows.db):
        return found
    known: Any = _IssuedElsewhere(claims.jti)
    return found | rows.named(claims.sid or "").filter(known)


class _IssuedElsewhere(Expression):
    """Whether simplejwt has issued this jti. If its tables are gone by then, it has not."""

    output_field = BooleanField()

    def __init__(self, jti: str) -> None:
        super().__init__()
        self.jti = jti

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        if not old_tables.are_asked(connection.alias):
            return "(1 = 0)", ()
        return f"EXISTS({old_tables.outstanding(connection.alias)})", (self.jti,)


@retry.lost_races
def was_used_up(claims: Claims, *, using: str) -> bool:
    """Return whether a refresh token that an old server made has been used here."""
    if not old_tables.are_asked(using):
        return False
    key = key_for("token", claims.jti, issuer=claims.issuer)
    used = BlacklistEntry.objects.using(using).filter(key=key, reason=BlacklistEntry.Reason.ROTATED)
    return used.exists()


def take_over(
    session: TokenSession,
    claims: Claims,
    new: Successor,
    *,
    using: str,
    also: Mapping[str, Any],
) -> Successor | None:
    """Take a refresh token that an old server made for the session's newest, and replace it.

    Returns the successor, as ``rotation.replace`` does, or None if no old server made the token.
    Raises TokenRevoked if the session ended meanwhile. The token is used up here: the session does
    not name it, so nothing else would refuse it the next time.
    """
    if not _is_known(claims, using=using):
        return None
    with transaction.atomic(using):
        try:
            blacklist.use_up(claims, user=session.user, using=using)
        except TokenRevoked:
            return rotation.graceful(rotation.reread(session, using=using), claims)
        # Locking: whoever has the session's own token may be refreshing it.
        now = TokenSession.objects.using(using).select_for_update().filter(sid=session.sid).first()
        if now is None or not rotation.advance(now, claims, new, using=using, also=also):
            raise TokenRevoked
    return new


def _is_known(claims: Claims, *, using: str) -> bool:
    if not old_tables.are_asked(using):
        return False
    with connections[using].cursor() as cursor:
        cursor.execute(old_tables.outstanding(using), [claims.jti])
        return cursor.fetchone() is not None


@dataclass(frozen=True, slots=True)
class Imported:
    """A login of simplejwt's, and the refresh token that it may use next."""

    sid: UUID
    user: Any
    jti: str
    created_at: datetime
    expires_at: datetime


def start_imported(logins: Iterable[Imported], *, using: str) -> None:
    """Record logins of simplejwt's as sessions; none of them may have one yet.

    The caller has locked the users' rows. The previous token of such a session is its refresh token
    itself: see ``entries.may_outlive``. Nobody has logged in, so no signal is sent.
    """
    TokenSession.objects.using(using).bulk_create(
        TokenSession(
            sid=login.sid,
            user_id=login.user.pk,
            refresh_jti=login.jti,
            previous_jti=login.jti,
            auth_hash=passwords.auth_hash(login.user),
            created_at=login.created_at,
            last_used_at=login.created_at,
            expires_at=login.expires_at,
        )
        for login in logins
    )


def hand_over(session: TokenSession, jti: str, *, expires_at: datetime, using: str) -> bool:
    """Make a token that an old server made for ``session`` its newest; return whether it is.

    Not if the session was refreshed or ended meanwhile.
    """
    return rotation.swap(
        session,
        session.refresh_jti,
        using=using,
        refresh_jti=jti,
        previous_jti=session.refresh_jti,
        expires_at=max(clock.latest(session.expires_at, using), expires_at),
    )
