"""Cached checks: answer from a snapshot of the recent entries, or not at all.

``refuses`` returns None if the snapshot can't know, and the caller asks the database. So whatever
the snapshot lacks costs a statement, and never accepts a token.

An entry refuses tokens that were issued before it was made, so a snapshot that holds all entries
since some moment knows about all tokens issued since. The snapshot is immutable and swapped by
reference. The thread that finds it half as old as it may be loads the next one, while others go on
with the old one; there is no background thread that could die in a fork. Age counts from before
the first statement of a load, so a snapshot has all that was committed when its age was zero.
"""

import os
from collections.abc import Iterable

from django.db import router

from ..claims import Claims
from ..conf import conf
from ..models import BlacklistEntry
from . import pending
from .database import DatabaseSnapshot
from .facts import Counters, Facts
from .limits import LIMITS

# One for each database, made when it is first asked.
_snapshots: dict[str, DatabaseSnapshot] = {}


def refuses(claims: Claims, *, using: str) -> bool | None:
    """Return whether an entry refuses an access token of these claims, or None: ask the database.

    Costs no statement, unless it is this caller's turn to load the snapshot.
    """
    max_age = conf.TOKENS_CHECK_MAX_AGE
    if not max_age:
        return None
    known = _snapshots.get(using) or _snapshots.setdefault(using, DatabaseSnapshot(using))
    return known.refuses(claims, max_age.total_seconds())


def refuses_at_once(claims: Claims, *, using: str) -> bool | None:
    """Return what ``refuses`` does, or None: ask in another thread, because it may take a while.

    For an event loop: waits for no database and no lock. Of those who ask while a snapshot is due,
    some get None until one of them loads the next one, and the others go on with the old one.
    """
    max_age = conf.TOKENS_CHECK_MAX_AGE
    known = _snapshots.get(using)
    if not max_age or known is None:
        return None
    return known.refuses_at_once(claims, max_age.total_seconds())


def when_committed(revocation: pending.Revocation) -> None:
    """Call ``revocation`` after the commit, before all others. Call this in its transaction."""
    known = _snapshots.get(revocation.using)
    pending.when_committed(revocation, patience=(known.limits if known else LIMITS).patience)


def note(fingerprints: Iterable[int], *, using: str) -> None:
    """Refuse what this process has revoked and committed from now on, whatever was loaded."""
    if known := _snapshots.get(using):
        known.current.note(fingerprints)


def distrust(*, using: str) -> None:
    """Ignore the snapshot until a load that starts after this call completes.

    For rows that were committed, and whose keys we do not know.
    """
    if known := _snapshots.get(using):
        known.current.distrust()


def forget(*, using: str) -> None:
    """Do what ``distrust`` does, and read all recent entries again. For entries that have gone."""
    if known := _snapshots.get(using):
        known.current.forget()


def reset(*snapshots: DatabaseSnapshot) -> None:
    """Forget the snapshots, the own revocations and the numbers. For tests.

    ``snapshots`` are used from now on; without one, a database gets one with the usual limits.
    Revocations of transactions that failed are forgotten, too: their errors may keep them.
    """
    pending.waiting.clear()
    _snapshots.clear()
    _snapshots.update((one.using, one) for one in snapshots)


def facts(*, using: str | None = None) -> Facts:
    """Return how cached checks do on the database of the blacklist, or on ``using``."""
    known = _snapshots.get(using or router.db_for_write(BlacklistEntry))
    return known.facts() if known else Counters().facts(None)


def _after_fork() -> None:
    for known in _snapshots.values():
        known.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
