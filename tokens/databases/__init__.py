"""What differs between databases: a module for each, behind one door.

``of`` tells which database a connection leads to. ``base`` says what each of them answers. To
support another database, write its module and name it here.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

from .base import Batch, Database, Expired, UnsupportedDatabase
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

__all__ = ["Batch", "Database", "Expired", "UnsupportedDatabase", "of", "supports"]

# By vendor, and not by name or engine: pools and proxies wrap a backend and rename both, while
# those that only speak PostgreSQL's or MySQL's protocol (CockroachDB, TiDB) have a vendor of
# their own.
_KINDS: dict[str, type[Database]] = {"mysql": MySQL, "postgresql": PostgreSQL, "sqlite": SQLite}


def of(connection: BaseDatabaseWrapper) -> Database:
    """Return the database that ``connection`` leads to. Does not connect.

    Raises UnsupportedDatabase, a database error, for one that is not supported.
    """
    if not supports(connection):
        raise UnsupportedDatabase(connection)
    return _KINDS[connection.vendor](connection)


def supports(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the database that ``connection`` leads to is supported. Does not connect."""
    return connection.vendor in _KINDS
