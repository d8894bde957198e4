"""End sessions: one login, several, or all of a user.

The entry is written before the session's row is deleted, and who hears of it is told last.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Exists, OuterRef

from .. import blacklist, clock, entries, passwords, retry, users
from ..claims import Claims
from ..conf import simplejwt
from ..keys import session_uuid
from ..models import BlacklistEntry, TokenSession
from ..querysets import SessionQuerySet
from ..signals import session_ended
from . import clusters
from .finding import adopted
from .keeping import kept_sid
from .telling import FACTS, log_many, tell, tell_and_log

Reason = BlacklistEntry.Reason


def end(claims: Claims, *, reason: str = Reason.LOGOUT) -> tuple[BlacklistEntry, bool]:
    """End the login that a token belongs to; a token without ``sid`` ends by itself.

    Returns the blacklist entry and whether it is new. The entry is written first, so that a crash
    in between leaves a row that is refused, never a token that is accepted.
    """
    if claims.sid is None:
        answer = blacklist.revoke_token(claims, reason=reason)
        # A session continues it if it has been used, or imported.
        if _first(rows_of().named(adopted(claims).sid or "")):
            end(adopted(claims), reason=reason)
        return answer
    rows = rows_of().named(claims.sid)
    session = _first(rows)
    ends = [claims.expires_at, clock.now() + simplejwt.ACCESS_TOKEN_LIFETIME]
    if session:
        ends.append(clock.latest(session.expires_at, blacklist.database()))
        if entries.may_outlive(session):
            ends.append(entries.end_for_user(clock.now()))
    answer = blacklist.revoke_session(
        claims.sid,
        user_pk=session.user_id if session else users.pk_of(claims, ask=False),
        expires_at=max(ends),
        reason=reason,
        row=session,
    )
    if session and retry.lost_races(rows.delete)()[0]:
        tell_and_log(session_ended, session, reason=reason)
    return answer


@retry.lost_races
def _first(rows: SessionQuerySet) -> TokenSession | None:
    return rows.first()


@retry.lost_races
def end_many(
    rows: SessionQuerySet, *, reason: str, using: str | None = None, sids: Sequence[UUID] = ()
) -> int:
    """End all these sessions and return how many: three statements, whatever their number.

    If ``sids`` are known, it takes two. If ``session_ended`` has a receiver, one more lists them.

    ``sids``: the ids of ``rows``, if known. They let cached checks keep their snapshot. If several
    are given, each must belong to a live or an ended session; a single one may be unknown.
    """
    if rows.query.is_empty():
        return 0
    using = using or blacklist.database()
    rows = rows.using(using)
    listening = session_ended.has_listeners(TokenSession)
    ended = list(rows.only(*FACTS)) if listening else []
    blacklist.revoke_sessions(rows, reason=reason, using=using, sids=sids)
    # A session that started since then has no entry and stays.
    refused = BlacklistEntry.objects.using(using).filter(key=OuterRef("sid"))
    number = rows.filter(Exists(refused)).order_by().delete()[0]
    if number:
        log_many(number, sids=sids, reason=reason, using=using)
    for session in ended:
        tell(session_ended, session, using=using, reason=reason)
    return number


def end_by_ids(sids: Sequence[UUID], *, reason: str) -> int:
    """End the sessions with these ids and return how many: a few statements for each 500."""
    parts = (sids[start : start + 500] for start in range(0, len(sids), 500))
    return sum(end_many(rows_of().filter(sid__in=part), reason=reason, sids=part) for part in parts)


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

    Where other nodes of a cluster don't see that lock, all is done again after the commit, which
    reaches what began on them meanwhile.
    """
    using = using or blacklist.database()
    ending = _Ending(user, reason=reason, but=but, using=using)
    ending()
    clusters.again_after_commit(ending, using=using)
    return ending.number


class _Ending(clusters.Repeatable):
    """The end of all sessions of ``user`` but one; each call ends those that are there."""

    def __init__(self, user: Any, *, reason: str, but: str | None, using: str) -> None:
        kept = session_uuid(but) if but is not None else None
        super().__init__([user.pk], kept=[kept] if kept else [])
        self.user_id = str(getattr(user, simplejwt.USER_ID_FIELD))
        self.reason, self.using = reason, using
        self.number = 0

    def __call__(self) -> None:
        self.number += self._end()

    @retry.lost_races
    def _end(self) -> int:
        [pk] = self.user_pks
        with transaction.atomic(self.using):
            users.lock(pk=pk, using=self.using)
            blacklist.revoke_user(pk, self.user_id, reason=self.reason, using=self.using)
            rows = rows_of(self.using).of_user(pk)
            if self.kept:
                rows = rows.exclude(sid__in=self.kept)
            return end_many(rows, reason=self.reason, using=self.using)


def end_one(user: Any, sid: str, *, reason: str = Reason.LOGOUT) -> bool:
    """End the session ``sid`` of ``user``; return False if the user has none of that id."""
    uuid = session_uuid(sid)
    rows = rows_of().named(sid).of_user(user.pk)
    return bool(end_many(rows, reason=reason, sids=[uuid] if uuid else []))


@retry.lost_races
def end_for_new_password(user: AbstractBaseUser, before: AbstractBaseUser) -> int:
    """End all sessions that began under ``before``, and return how many.

    The session that ``keeping`` names stays and goes on under the new password.
    """
    using, kept = blacklist.database(), kept_sid()
    with transaction.atomic(using):
        number = end_all(before, reason=Reason.PASSWORD_CHANGE, but=kept, using=using)
        if kept:
            rows = rows_of(using).named(kept).of_user(before.pk)
            rows.update(auth_hash=passwords.auth_hash(user))
        return number


def rows_of(using: str | None = None) -> SessionQuerySet:
    return TokenSession.objects.using(using or blacklist.database())
