"""Revoke tokens and ask about them: the only writer of blacklist entries.

(The cleanup removes expired ones.) Tokens only go from live to revoked, except by an
administrator's explicit act (``unrevoke``). Revoking twice is a no-op with the same answer, and a
question never writes. All statements use the database that ``router.db_for_write`` names for the
blacklist, so no lagging replica answers for it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from django.db.models import Q
from django.db.models.functions import Greatest

from . import clock, databases, entries, old_tables, origin, recording, retry, snapshot, users
from .claims import Claims
from .exceptions import TokenRevoked, UserUnknown
from .keys import fingerprint, is_sid
from .log import logger
from .models import BlacklistEntry, TokenSession
from .querysets import SessionQuerySet
from .refusal import Refused

Reason = BlacklistEntry.Reason


def database() -> str:
    """Return the alias of the database that holds the truth about revocation."""
    return router.db_for_write(BlacklistEntry) if router.routers else DEFAULT_DB_ALIAS


def revoke_token(
    claims: Claims,
    *,
    user: Any = None,
    reason: str = Reason.REVOKED,
    using: str | None = None,
) -> tuple[BlacklistEntry, bool]:
    """Refuse the one token with these claims from now on.

    Returns the entry and whether it is new. Revoked before: the old entry, at most extended.
    ``user`` saves looking for the user that the claims name.
    """
    user_pk = user.pk if user else users.pk_of(claims)
    entry = entries.of_token(claims, user_pk=user_pk, reason=reason)
    return recording.write(entry, using or database())


def revoke_session(
    sid: str,
    *,
    expires_at: datetime,
    user_pk: Any = None,
    reason: str = Reason.REVOKED,
    using: str | None = None,
    row: TokenSession | None = None,
) -> tuple[BlacklistEntry, bool]:
    """Refuse every token of the session ``sid``; ``expires_at`` is the end of the last of them.

    Returns the entry and whether it is new. Raises ValueError if ``sid`` is not the id of a session
    of this app, because no token would be refused. ``sessions.end`` calls this and deletes the
    session's ``row``, whose device the entry keeps.
    """
    if not is_sid(sid):
        raise ValueError(f"{sid!r} is not the id of a session of this app.")
    entry = entries.of_session(
        UUID(sid), user_pk=user_pk, reason=reason, expires_at=expires_at, row=row
    )
    return recording.write(entry, using or database())


@retry.lost_races
def revoke_sessions(
    rows: SessionQuerySet, *, reason: str, using: str | None = None, sids: Sequence[UUID] = ()
) -> None:
    """Refuse every token of all these sessions, in one statement, however many they are.

    An entry lasts as long as the newest refresh token, and an access token made this moment.
    ``sessions.end_many`` calls this and deletes the rows, and says what ``sids`` are. Without them,
    a second statement asks for the moment by which the new entries can be found.
    """
    using, begun = using or database(), clock.elapsed()
    made_at = None if sids else clock.database_now(using)
    made_now = Q(key__in=sids) if made_at is None else Q(created_at=made_at)
    with transaction.atomic(using, savepoint=False):
        written = recording.insert_for(rows.using(using), reason=reason, created_at=made_at)
        if written and sids:
            tell = partial(snapshot.note, list(map(fingerprint, sids)), using=using)
        else:
            # Only the database knows their keys.
            tell = partial(snapshot.distrust, using=using)
        snapshot.when_committed(
            snapshot.Revocation(
                using,
                begun=begun,
                tell=tell,
                move_up=partial(
                    recording.move_up, BlacklistEntry.objects.using(using).filter(made_now)
                ),
            )
        )


def revoke_user(
    pk: Any, user_id: str, *, reason: str = Reason.REVOKED, using: str | None = None
) -> tuple[BlacklistEntry, bool]:
    """Refuse the tokens without ``sid`` of a user that were issued until now.

    Returns the entry and whether it is new. ``user_id`` is as tokens spell it. The entry expires
    with the last such token, after TOKENS_LONGEST_LIFETIME.
    """
    entry = entries.of_user(pk, user_id, before=clock.now(), reason=reason)
    return recording.write(entry, using or database())


def revoke_users(
    pairs: Iterable[tuple[Any, str]], *, reason: str = Reason.REVOKED, using: str | None = None
) -> None:
    """Do what ``revoke_user`` does for many users: pairs of a primary key and an id.

    Takes a few statements (none for nobody), in the transaction of a caller that has locked the
    users' rows.
    """
    now = clock.now()
    made = (entries.of_user(pk, user_id, before=now, reason=reason) for pk, user_id in pairs)
    by_key = {entry.key: entry for entry in made}
    if not by_key:
        return
    table = BlacklistEntry.objects.using(using or database())
    rows = table.filter(key__in=by_key)
    # Write first: on SQLite, a transaction that reads first may not be allowed to write.
    rows.update(
        issued_before=Greatest("issued_before", now),
        expires_at=Greatest("expires_at", entries.end_for_user(now)),
        reason=reason,
        **origin.doing().columns(),
    )
    known = set(rows.values_list("key", flat=True))
    table.bulk_create(entry for key, entry in by_key.items() if key not in known)


def unrevoke(entries: Iterable[BlacklistEntry], *, by: AbstractBaseUser, why: str = "") -> None:
    """Remove entries, so that the tokens they refuse are accepted again, on behalf of ``by``.

    ``why`` is for the log. For an administrator's explicit act only. The caller checks whether
    ``by`` may do it.
    """
    found = retry.lost_races(lambda: list(entries))()
    for entry in found:
        # Before the deletion: a line too many is better than one too few.
        logger.warning(
            "user %s (%r) un-revokes %s %r, key %s, revoked at %s as %r: %r",
            by.pk,
            by.get_username(),
            entry.scope,
            entry.subject,
            entry.key,
            entry.created_at,
            entry.reason,
            why,
            extra={"event": "unrevoked", "key": str(entry.key), "by": str(by.pk), "why": why},
        )
    recording.delete([entry.key for entry in found], database())


def use_up(claims: Claims, *, user: Any = None, using: str | None = None) -> None:
    """Use up a token that works once; raise TokenRevoked if another caller was faster.

    The insert decides: the unique key lets one caller through, however many try.
    """
    _, created = revoke_token(claims, user=user, reason=Reason.ROTATED, using=using)
    if not created:
        raise TokenRevoked


def is_revoked(claims: Claims, *, using: str | None = None, used_up: bool = False) -> bool:
    """Return whether an entry refuses a token with these claims. Costs one statement at most.

    With TOKENS_CHECK_MAX_AGE it costs none if the snapshot can tell. ``used_up`` overlooks the
    entry of the token itself.
    """
    using = using or database()
    known = None if used_up else snapshot.refuses(claims, using=using)
    return _ask(Refused(claims, used_up=used_up), using) if known is None else known


@retry.lost_races
def _ask(refused: Refused, using: str) -> bool:
    databases.of(connections[using])

    def ask() -> bool:
        connection = connections[using]
        question, values = refused.as_sql(None, connection)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {question}", values)
            return bool(cursor.fetchone()[0])

    return old_tables.asking(ask, using=using)


def check(claims: Claims, *, using: str | None = None) -> None:
    """Raise TokenRevoked if a token with these claims is refused."""
    using = using or database()
    known = snapshot.refuses(claims, using=using)
    if _ask(Refused(claims), using) if known is None else known:
        raise TokenRevoked


@retry.lost_races
def user_of(claims: Claims) -> AbstractBaseUser:
    """Return the user that the claims name, asking the blacklist in the same statement.

    Raises UserUnknown, and TokenRevoked if the token is refused. Users of another database cost a
    second statement. With TOKENS_CHECK_MAX_AGE, what the snapshot can tell is not asked, and the
    user may be read from a replica, which takes the load off the database that is written to.
    """
    known = snapshot.refuses(claims, using=database())
    if known:
        raise TokenRevoked
    if known is None:
        databases.of(connections[database()])
    written = users.database()
    read = written if known is None else users.shown().db
    try:
        return _user_of(claims, using=read, ask=known is None)
    except UserUnknown:
        # The user may be too new for a replica, or for a node of a cluster that lags.
        if read == written and not databases.catch_up(connections[written]):
            raise
    return _user_of(claims, using=written, ask=known is None)


def _user_of(claims: Claims, *, using: str, ask: bool) -> AbstractBaseUser:
    """Return the user as the database ``using`` has it; with ``ask``, ask the blacklist, too."""
    is_here = users.read_from(using) == database()
    refused = Refused(claims) if ask else None
    session = UUID(claims.sid) if is_here and claims.sid is not None else None
    together = refused if is_here else None

    def find() -> tuple[AbstractBaseUser, bool]:
        return users.find(claims, using=using, session=session, refused=together)

    user, answer = old_tables.asking(find, using=database())
    if refused is not None and (answer if is_here else _ask(refused, database())):
        raise TokenRevoked
    if not users.is_named(user, claims):
        raise UserUnknown
    return user
