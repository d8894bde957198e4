"""What differs between databases: a module for each, behind one door.

``of`` tells which database a connection leads to. ``base`` says what each of them answers. To
support another database, write its module and name it here.
"""

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .base import LOCK_SECONDS, Database
from .compiled import HERE, annotated, answer_of, compares_plainly, is_plain, prepared
from .either import MariaDBOrMySQL
from .errors import OutOfTime, UnsupportedDatabase, error_code
from .indexes import PartialIndex, has_partial_indexes
from .local_time import jumps
from .orders import Batch, Expired, Order, Position
from .postgresql import PostgreSQL
from .questions import Counted, Questions
from .sqlite import SQLite

__all__ = [
    "HERE",
    "LOCK_SECONDS",
    "Batch",
    "Counted",
    "Database",
    "Expired",
    "Order",
    "OutOfTime",
    "PartialIndex",
    "Position",
    "Questions",
    "UnsupportedDatabase",
    "annotated",
    "answer_of",
    "catch_up",
    "compares_plainly",
    "error_code",
    "has_partial_indexes",
    "is_plain",
    "jumps",
    "lost_race",
    "of",
    "prepared",
    "questions",
    "supports",
    "took_too_long",
]

# By vendor, and not by name or engine: pools and proxies wrap a backend and rename both, while
# those that only speak PostgreSQL's or MySQL's protocol (CockroachDB, TiDB) have a vendor of
# their own.
_KINDS: dict[str, type[Database]] = {
    "mysql": MariaDBOrMySQL,
    "postgresql": PostgreSQL,
    "sqlite": SQLite,
}


def of(connection: BaseDatabaseWrapper) -> Database:
    """Return the database that ``connection`` leads to. Does not connect.

    Raises UnsupportedDatabase, a database error, for one that is not supported.
    """
    if not supports(connection):
        raise UnsupportedDatabase(connection)
    return _KINDS[connection.vendor](connection)


def lost_race(error: BaseException, *, at_once: bool) -> bool:
    """Return whether a database of any kind says that its transaction lost a race.

    It was rolled back, and may succeed if it is tried again. ``at_once``: it said so without a wait
    for a lock. Looks at the error only.
    """
    return any(kind.lost_race(error, at_once=at_once) for kind in _KINDS.values())


def catch_up(connection: BaseDatabaseWrapper) -> bool:
    """Wait until a server of a cluster has what the others had committed; return whether it did.

    It did nothing for any other database, supported or not.
    """
    return supports(connection) and of(connection).catch_up()


def questions(using: str, *, seconds: float) -> Questions:
    """Return a way to ask the database ``using`` that takes no longer than ``seconds``."""
    return Questions(of(connections[using]), seconds)


def supports(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the database that ``connection`` leads to is supported. Does not connect."""
    return connection.vendor in _KINDS


def took_too_long(error: BaseException, connection: BaseDatabaseWrapper) -> bool:
    """Return whether a lock, or a limit on statements, is what ended a statement."""
    if isinstance(error, OutOfTime):
        return True
    database = of(connection) if supports(connection) else None
    return database is not None and (
        database.ran_into_lock(error) or database.ran_out_of_time(error)
    )
