"""Where a connection leads: to which tables, of what server, and to which kind of clock times."""

from collections.abc import Collection
from typing import ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import given
from .local_time import Taken, Written

# What the connections of django-tenants, django-tenant-schemas and django-pgschemas have.
_CHANGES_SCHEMA = ("set_schema", "set_tenant", "_handle_search_path")


class Place:
    """What a connection leads to. Most of it shows without a statement."""

    # A query for what the server is, and what servers say that only speak its protocol.
    VERSION: ClassVar[str] = "SELECT version()"
    STRANGERS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def is_in_memory(self) -> bool:
        """Return whether the database lives in this process, where a second connection is blind."""
        return False

    def local_time(self) -> Written | Taken | None:
        """Return how moments are kept in local time, or None if they are kept as they are.

        Django converts aware moments to the connection's time zone, and stores naive ones as they
        are, which we make in UTC.
        """
        name = self.connection.timezone_name
        return Written(ZoneInfo(name)) if settings.USE_TZ and name != "UTC" else None

    def schema(self) -> str | None:
        """Return the name of the schema that statements find tables in, or None if unknown.

        It is empty if there is no more than one, which nobody needs to name.
        """
        if not self.serves_tenants():
            return ""
        name = getattr(self.connection, "schema_name", None)
        return name if isinstance(name, str) else None

    def serves_tenants(self) -> bool:
        """Return whether the connection finds other tables from one request to the next.

        Packages that keep a schema for each tenant teach their connections to change it.
        """
        changes = any(hasattr(self.connection, name) for name in _CHANGES_SCHEMA)
        return changes or bool(given("TENANT_MODEL", default=None))

    def visible(self, tables: Collection[str]) -> set[str]:
        """Return those of these tables that a statement finds by their names alone."""
        with self.connection.cursor() as cursor:
            return set(tables).intersection(self.connection.introspection.table_names(cursor))

    def stranger(self) -> str | None:
        """Return what the server says it is if it only speaks this database's protocol, or None.

        One statement.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(self.VERSION)
            version = str(cursor.fetchone()[0])
        return version if any(name in version for name in self.STRANGERS) else None

    def most_connections(self) -> int | None:
        """Return how many connections the pool of this process has, or None if there is none."""
        return None
