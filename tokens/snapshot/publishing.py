"""What readers of the feed need to decide about tokens: see docs/howto/other-services.md.

It is what a snapshot is made of, read anew for each answer, so that a reader's copy is as old as
its request and no older. A reader that names the ``cursor`` of its last answer gets what was made
since. Asked without one, it gets all recent entries, and what an administrator has un-revoked is
gone from then on; after some minutes it gets them anyway.
"""

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby
from math import ceil

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import clock, databases
from . import recent, refused_users
from .clocks import CLOCKS
from .keyset import KeySet
from .limits import LIMITS, Limits
from .loader import Loader

# Seconds that a reader's copy may get old without losing track of young tokens.
REACH = 60.0

# Seconds after which a reader gets all recent entries again, if it has not asked for them before.
LONGEST_INCOMPLETE = 600.0


class NotPublished(Exception):
    """This database can have no feed; the message says why."""


class CursorInvalid(Exception):
    """It is not a cursor of ours."""


@dataclass(frozen=True, slots=True)
class Publication:
    """All that had been revoked by ``now``, by the database's clock, and what it decides about.

    ``keys`` are the sorted fingerprints of all recent entries if ``is_complete``, else of those
    that were made since the reader's last answer. They decide about access tokens that were issued
    at ``covers_from`` or later (None: as the last complete answer says), in seconds since 1970.

    ``users`` says until when the tokens without a session are refused, by the fingerprint of their
    user. They decide about those issued at ``users_from`` or later; None: about none.
    """

    is_complete: bool
    now: datetime
    cursor: str
    covers_from: int | None
    users_from: int | None
    users: dict[int, int]
    keys: "array[int]"


def publish(cursor: str | None, *, using: str, limits: Limits = LIMITS) -> Publication:
    """Return what a reader needs whose last answer had this ``cursor``; None: it has nothing.

    Raises CursorInvalid, and NotPublished if the database can have no snapshot either.
    """
    last = None if cursor is None else _Cursor.of(cursor)
    if why := recent.obstacle(connections[using]):
        raise NotPublished(why)
    with recent.connection_to(using) as connection:
        newer = last and _newer(connection, last, limits)
        return newer or _complete(connection, limits)


@dataclass(frozen=True, slots=True)
class _Cursor:
    """When the reader last got everything, and when it last got anything, in microseconds."""

    complete: int
    now: int

    @classmethod
    def of(cls, text: str) -> "_Cursor":
        found = _CURSOR(text)
        if found is None:
            raise CursorInvalid
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.complete}-{self.now}"

    def is_usable(self, now: int) -> bool:
        """Return whether the reader lacks only what was made since, by a clock that was not set."""
        return self.complete <= self.now <= now < self.complete + LONGEST_INCOMPLETE * 1_000_000


_CURSOR = re.compile(r"([0-9]{1,17})-([0-9]{1,17})").fullmatch


def _newer(connection: BaseDatabaseWrapper, last: _Cursor, limits: Limits) -> Publication | None:
    """Return what was made since ``last``, or None if the reader needs everything again."""
    moment = clock.aware(databases.of(connection).now())
    if not last.is_usable(_microseconds(moment)):
        return None
    overlap = Loader(limits, CLOCKS, recent.read).overlap(connection)
    since = datetime.fromtimestamp(last.now / 1_000_000, UTC) - overlap
    found = recent.read(connection, since, limits)
    if found.since > since:  # so many that older ones are missing
        return None
    return _publication(
        connection,
        covers_from=None,
        cursor=_Cursor(last.complete, _microseconds(found.now)),
        now=found.now,
        parts=(part.keys for part in found.parts),
        limits=limits,
    )


def _complete(connection: BaseDatabaseWrapper, limits: Limits) -> Publication:
    load = Loader(limits, CLOCKS, recent.read).load(connection, None, REACH)
    now, since = load.read.now, load.parts[-1].since
    # A token says by its host's clock when it was issued.
    slack = timedelta(seconds=limits.slack() + max(load.ahead, 0.0))
    return _publication(
        connection,
        covers_from=since + slack,
        cursor=_Cursor(_microseconds(now), _microseconds(now)),
        now=now,
        parts=(part.keys for part in load.parts),
        limits=limits,
    )


def _publication(
    connection: BaseDatabaseWrapper,
    *,
    covers_from: datetime | None,
    cursor: _Cursor,
    now: datetime,
    parts: Iterable[KeySet],
    limits: Limits,
) -> Publication:
    found = refused_users.read(connection, limits, reach=REACH)
    return Publication(
        is_complete=covers_from is not None,
        now=now,
        cursor=str(cursor),
        covers_from=None if covers_from is None else ceil(covers_from.timestamp()),
        users_from=found.since if found else None,
        users=found.until if found else {},
        keys=array("Q", (key for key, _ in groupby(sorted(chain.from_iterable(parts))))),
    )


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
