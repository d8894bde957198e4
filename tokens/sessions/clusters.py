"""Clusters in which several servers write, and none of them sees the locks of the others: Galera.

There, two transactions exclude each other only if they write the same row. A login and the end of
all sessions of its user write none in common, and what holds them apart elsewhere, the lock on the
user's row, stays on its server. So both look again after their commit, when a server has all that
was committed before: whichever came second sees the first. Other databases pay nothing for it.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from .. import blacklist, databases, passwords, retry, users
from ..claims import Claims
from ..exceptions import UserChanged
from ..models import TokenSession


class Repeatable:
    """Something that ends sessions of users, and can be done again after the commit.

    ``kept`` are the ids of sessions that stay, those included that start later in its transaction.
    """

    def __init__(self, user_pks: Iterable[Any], *, kept: Iterable[UUID] = ()) -> None:
        self.user_pks = set(user_pks)
        self.kept = set(kept)

    def __call__(self) -> None:
        raise NotImplementedError


def again_after_commit(work: Repeatable, *, using: str) -> None:
    """Call ``work`` once more after the commit if other servers write, too.

    If there is no transaction, that is now. What it raises reaches the caller.
    """
    if databases.of(connections[using]).has_other_writers():
        transaction.on_commit(work, using=using)


def confirm(session: TokenSession, user: Any, *, continues: Claims | None, using: str) -> None:
    """End the new ``session`` if its user changed on another server meanwhile.

    That is known after the commit. If there is no transaction, it is known now, and this raises
    UserChanged. Otherwise ``session.has_ended`` tells it then.
    """
    connection = connections[using]
    if not databases.of(connection).has_other_writers():
        return
    for _, callback, *_ in connection.run_on_commit:
        if isinstance(callback, Repeatable) and session.user_id in callback.user_pks:
            callback.kept.add(session.sid)
    is_active = bool(user.is_active)

    @retry.lost_races
    def look() -> None:
        if not _may_stay(session, continues, is_active=is_active, using=using):
            from .ending import Reason, end_many

            rows = TokenSession.objects.using(using).filter(sid=session.sid)
            end_many(rows, reason=Reason.REVOKED, sids=[session.sid], using=using)
            session.has_ended = True

    transaction.on_commit(look, using=using)
    if session.has_ended:
        raise UserChanged


def _may_stay(
    session: TokenSession, continues: Claims | None, *, is_active: bool, using: str
) -> bool:
    """Return whether the session is there, and what it began with still holds."""
    row = TokenSession.objects.using(using).filter(sid=session.sid).first()
    user = users.everyone(users.database()).filter(pk=session.user_id).first()
    if row is None or user is None or not passwords.may_go_on(row.auth_hash, user):
        return False
    if is_active and not user.is_active:
        return False
    return continues is None or not blacklist.is_revoked(continues, used_up=True, using=using)
