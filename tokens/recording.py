"""Write entries of the blacklist, and tell this process's snapshot. Only ``blacklist`` calls it."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import IntegrityError, connections, transaction
from django.db.models import DateTimeField, Value
from django.db.models.functions import Greatest

from . import clock, databases, entries, retry, snapshot
from .conf import simplejwt
from .keys import fingerprint
from .models import BlacklistEntry
from .querysets import BlacklistQuerySet, SessionQuerySet


@retry.lost_races
def write(entry: BlacklistEntry, using: str) -> tuple[BlacklistEntry, bool]:
    """Write ``entry``, or extend the one of the same key; return it and whether it is new."""
    # A plain insert: MariaDB's INSERT IGNORE also ignores values that it can't store.
    same = BlacklistEntry.objects.using(using).filter(key=entry.key)
    revocation = snapshot.Revocation(
        using,
        begun=clock.elapsed(),
        tell=partial(snapshot.note, [fingerprint(entry.key)], using=using),
        move_up=partial(move_up, same),
    )
    try:
        with transaction.atomic(using):
            entry.save(force_insert=True, using=using)
            snapshot.when_committed(revocation)
    except IntegrityError as error:
        known = _extend(entry, revocation)
        if known is None:
            # Above READ COMMITTED the row is not there for this transaction. Or it is gone again.
            raise retry.LostRace(*error.args) from error
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
            if later := entries.extend(known, entry, using=using):
                known.save(update_fields=later, using=using)
            snapshot.when_committed(revocation)
    return known


def insert_for(rows: SessionQuerySet, *, reason: str, created_at: datetime | None) -> bool:
    """Insert an entry for each of these sessions, or extend the one that is there.

    One statement, whatever their number. Returns whether anything was written. If ``created_at`` is
    None, the database says when it inserts them.
    """
    database_of_rows = databases.of(connections[rows.db])
    columns = entries.of_session_rows(
        connections[rows.db], reason=reason, now=clock.now(), created_at=created_at
    )
    selected = rows.order_by().annotate(**{f"new_{name}": columns[name] for name in columns})
    query = selected.values_list(*(f"new_{name}" for name in columns)).query
    select, parameters = query.get_compiler(rows.db).as_sql()
    table = BlacklistEntry._meta.db_table
    return database_of_rows.insert_selected(table, list(columns), select, parameters)


@retry.lost_races
def delete(keys: Sequence[UUID], using: str) -> None:
    """Delete the entries with these keys, all or none."""
    with transaction.atomic(using):
        for key in keys:
            BlacklistEntry.objects.using(using).filter(key=key).delete()
        transaction.on_commit(partial(snapshot.forget, using=using), using=using)


@retry.lost_races
def move_up(entries: BlacklistQuerySet) -> None:
    """Give entries that were committed long after they were made the present moment.

    The snapshots of other processes hold what was made recently, and until the commit a session
    gave out access tokens, which an entry must outlive.
    """
    now = clock.now()
    until = Value(now + simplejwt.ACCESS_TOKEN_LIFETIME, DateTimeField())
    of_sessions = entries.filter(scope=BlacklistEntry.Scope.SESSION)
    of_sessions.update(expires_at=Greatest("expires_at", until))
    present = clock.DatabaseNow()
    entries.filter(created_at__lt=present).update(created_at=present)
