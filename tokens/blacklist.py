"""Revoke tokens and ask about them: the only writer of blacklist entries.

(The cleanup removes expired ones.) Tokens only go from live to revoked, except by an
administrator's explicit act (``unrevoke``). Revoking twice is a no-op with the same answer, and a
question never writes. All statements use the database that ``router.db_for_write`` names for the
blacklist, so no lagging replica answers for it.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import IntegrityError, connections, router, transaction
from django.db.models import DateTimeField, Exists, OuterRef, Value
from django.db.models.functions import Greatest

from . import clock, databases, entries, old_tables, snapshot, users
from .claims import Claims
from .conf import simplejwt
from .exceptions import TokenRevoked, UserUnknown
from .keys import fingerprint, is_sid
from .models import BlacklistEntry, TokenSession
from .querysets import BlacklistQuerySet, SessionQuerySet
from .refusal import Refused

logger = logging.getLogger("tokens")

Reason = BlacklistEntry.Reason


def database() -> str:
    """Return the alias of the database that holds the truth about revocation."""
    return router.db_for_write(BlacklistEntry)


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
    return _write(entry, using or database())


def revoke_session(
    sid: str,
    *,
    expires_at: datetime,
    user_pk: Any = None,
    reason: str = Reason.REVOKED,
    using: str | None = None,
) -> tuple[BlacklistEntry, bool]:
    """Refuse every token of the session ``sid``; ``expires_at`` is the end of the last of them.

    Returns the entry and whether it is new. Raises ValueError if ``sid`` is not the id of a session
    of this app, because no token would be refused. ``sessions.end`` calls this and deletes the
    session's row.
    """
    if not is_sid(sid):
        raise ValueError(f"{sid!r} is not the id of a session of this app.")
    entry = entries.of_session(UUID(sid), user_pk=user_pk, reason=reason, expires_at=expires_at)
    return _write(entry, using or database())


def revoke_sessions(
    rows: SessionQuerySet, *, reason: str, using: str | None = None, sids: Sequence[UUID] = ()
) -> None:
    """Refuse every token of all these sessions, in one statement, however many they are.

    An entry lasts as long as the newest refresh token, and an access token made this moment.
    ``sessions.end_many`` calls this and deletes the rows, and says what ``sids`` are.
    """
    using = using or database()
    begun, now = clock.elapsed(), clock.now()
    made_now = BlacklistEntry.objects.using(using).filter(created_at=now)
    with transaction.atomic(using, savepoint=False):
        written = _insert_for(rows.using(using), reason=reason, now=now)
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
                move_up=partial(_move_up, made_now),
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
    return _write(entry, using or database())


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
    rows.filter(issued_before__lt=now).update(
        issued_before=now, expires_at=Greatest("expires_at", entries.end_for_user(now))
    )
    known = set(rows.values_list("key", flat=True))
    table.bulk_create(entry for key, entry in by_key.items() if key not in known)


def unrevoke(entries: Iterable[BlacklistEntry], *, by: AbstractBaseUser) -> None:
    """Remove entries, so that the tokens they refuse are accepted again, on behalf of ``by``.

    For an administrator's explicit act only. The caller checks whether ``by`` may do it.
    """
    using = database()
    for entry in entries:
        # Before the deletion: a line too many is better than one too few.
        logger.warning(
            "user %s (%r) un-revokes %s %r, key %s, revoked at %s as %r",
            by.pk,
            by.get_username(),
            entry.scope,
            entry.subject,
            entry.key,
            entry.created_at,
            entry.reason,
            extra={"event": "unrevoked", "key": str(entry.key), "by": str(by.pk)},
        )
        with transaction.atomic(using):
            BlacklistEntry.objects.using(using).filter(key=entry.key).delete()
            transaction.on_commit(partial(snapshot.forget, using=using), using=using)


def use_up(claims: Claims, *, user: Any = None, using: str | None = None) -> None:
    """Use up a token that works once; raise TokenRevoked if another caller was faster.

    The insert decides: the unique key lets one caller through, however many try.
    """
    _, created = revoke_token(claims, user=user, reason=Reason.ROTATED, using=using)
    if not created:
        raise TokenRevoked


def is_revoked(claims: Claims, *, using: str | None = None) -> bool:
    """Return whether an entry refuses a token with these claims. Costs one statement at most.

    With TOKENS_CHECK_MAX_AGE it costs none if the snapshot can tell.
    """
    using = using or database()
    known = snapshot.refuses(claims, using=using)
    return _ask(claims, using) if known is None else known


def _ask(claims: Claims, using: str) -> bool:
    def ask() -> bool:
        connection = connections[using]
        question, values = Refused(claims).as_sql(None, connection)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {question}", values)
            return bool(cursor.fetchone()[0])

    return old_tables.asking(ask, using=using)


def check(claims: Claims, *, using: str | None = None) -> None:
    """Raise TokenRevoked if a token with these claims is refused."""
    if is_revoked(claims, using=using):
        raise TokenRevoked


def user_of(claims: Claims) -> AbstractBaseUser:
    """Return the user that the claims name, asking the blacklist in the same statement.

    Raises UserUnknown, and TokenRevoked if the token is refused. Users that are read from a replica
    cost a second statement, because the blacklist never is. With TOKENS_CHECK_MAX_AGE, what the
    snapshot can tell is not asked.
    """
    field, value = users.lookup(claims)
    using = database()
    known = snapshot.refuses(claims, using=using)
    if known:
        raise TokenRevoked
    rows = get_user_model()._default_manager.all()
    together = known is None and rows.db == using
    if together:
        rows = rows.annotate(refused_token=Refused(claims))
    if rows.db == using and claims.sid is not None and not field.primary_key:
        # A name or an address may have passed from the session's user to somebody else.
        session = TokenSession.objects.filter(sid=UUID(claims.sid))
        rows = rows.exclude(Exists(session.exclude(user_id=OuterRef("pk"))))
    try:
        user: Any = old_tables.asking(lambda: rows.get(**{field.name: value}), using=using)
    except (ObjectDoesNotExist, MultipleObjectsReturned):
        raise UserUnknown from None
    if user.refused_token if together else known is None and _ask(claims, using):
        raise TokenRevoked
    if not users.is_named(user, claims):
        raise UserUnknown
    return cast(AbstractBaseUser, user)


def _insert_for(rows: SessionQuerySet, *, reason: str, now: datetime) -> bool:
    """Insert an entry for each of these sessions, or extend the one that is there.

    One statement, whatever their number. Returns whether anything was written.
    """
    database_of_rows = databases.of(connections[rows.db])
    columns = entries.of_session_rows(connections[rows.db], reason=reason, now=now)
    selected = rows.order_by().annotate(**{f"new_{name}": columns[name] for name in columns})
    query = selected.values_list(*(f"new_{name}" for name in columns)).query
    select, parameters = query.get_compiler(rows.db).as_sql()
    table = BlacklistEntry._meta.db_table
    return database_of_rows.insert_selected(table, list(columns), select, parameters)


def _write(entry: BlacklistEntry, using: str) -> tuple[BlacklistEntry, bool]:
    # A plain insert: MariaDB's INSERT IGNORE also ignores values that it can't store.
    same = BlacklistEntry.objects.using(using).filter(key=entry.key)
    revocation = snapshot.Revocation(
        using,
        begun=clock.elapsed(),
        tell=partial(snapshot.note, [fingerprint(entry.key)], using=using),
        move_up=partial(_move_up, same),
    )
    try:
        with transaction.atomic(using):
            entry.save(force_insert=True, using=using)
            snapshot.when_committed(revocation)
    except IntegrityError:
        known = _extend(entry, revocation)
        if known is None:
            raise
        return known, False
    return entry, True


def _extend(entry: BlacklistEntry, revocation: snapshot.Revocation) -> BlacklistEntry | None:
    """Return the entry of the same key that is there, its moments at least those of ``entry``."""
    # Locking, because in a transaction at REPEATABLE READ a plain read may not see the row yet.
    using = revocation.using
    with transaction.atomic(using):
        rows = BlacklistEntry.objects.using(using).filter(key=entry.key)
        known = rows.select_for_update().first()
        if known is not None:
            later = [
                name
                for name in ("expires_at", "issued_before")
                if (new := getattr(entry, name)) is not None and new > getattr(known, name)
            ]
            for name in later:
                setattr(known, name, getattr(entry, name))
            if later:
                known.save(update_fields=later, using=using)
            snapshot.when_committed(revocation)
    return known


def _move_up(entries: BlacklistQuerySet) -> None:
    """Give entries that were committed long after they were made the present moment.

    The snapshots of other processes hold what was made recently, and until the commit a session
    gave out access tokens, which an entry must outlive.
    """
    now = clock.now()
    late = entries.filter(created_at__lt=now)
    until = Value(now + simplejwt.ACCESS_TOKEN_LIFETIME, DateTimeField())
    late.filter(scope=BlacklistEntry.Scope.SESSION).update(expires_at=Greatest("expires_at", until))
    late.update(created_at=now)
