"""Connections beside Django's, by the drivers that are installed."""

import socket
from typing import Any

import project  # noqa: F401  (lets PyMySQL be MySQLdb if mysqlclient is not installed)

# isort: split
import MySQLdb

try:
    import psycopg as postgresql
except ImportError:
    import psycopg2 as postgresql  # type: ignore[import-untyped,no-redef]

IS_PYMYSQL = MySQLdb.__name__ == "pymysql"

Refused = (postgresql.OperationalError, MySQLdb.OperationalError)
Failed = (postgresql.Error, MySQLdb.Error)


def connect_to_postgresql(**address: Any) -> Any:
    """Return a connection in autocommit mode."""
    connection = postgresql.connect(**address)
    connection.autocommit = True
    return connection


def connect_to_mysql(**address: Any) -> Any:
    """Return a connection to MariaDB or MySQL, without TLS, which PyMySQL is slow to prepare."""
    if not IS_PYMYSQL:
        return MySQLdb.connect(**address)
    if path := address.get("unix_socket"):
        _knock(path)
    return MySQLdb.connect(**address, ssl_disabled=True)


def _knock(path: str) -> None:
    """Raise OperationalError if nobody listens there.

    PyMySQL 1.2 would leave its socket open then, and whichever test runs when it is collected would
    fail by the warning.
    """
    with socket.socket(socket.AF_UNIX) as visitor:
        try:
            visitor.connect(path)
        except OSError as error:
            raise MySQLdb.OperationalError(2002, f"nobody listens at {path}") from error


def execute(connection: Any, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def name() -> str:
    """Return the name of the driver that Django has on the database of the settings."""
    from django.db import connection

    module: Any = connection.Database  # type: ignore[attr-defined]
    return str(module.__name__).partition(".")[0]
