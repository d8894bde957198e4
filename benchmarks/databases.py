"""Databases that exist for one measurement, on the servers that the tests use."""

import itertools
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql

from tests.databases import DATABASES, answers

_numbers = itertools.count(1)


def available() -> list[str]:
    """Return the names of the databases at hand; PostgreSQL first, because it says most."""
    order = ("PostgreSQL", "MariaDB", "SQLite")
    return [name for name in order if answers(DATABASES[name])]


def version(database: str) -> str:
    """Return the version of the server."""
    if database == "SQLite":
        return sqlite3.sqlite_version
    statement = "SHOW server_version" if database == "PostgreSQL" else "SELECT version()"
    return str(_on_server(database, statement)).split(" ")[0]


@contextmanager
def temporary(database: str) -> Iterator[str]:
    """Give the URL of a new, empty database, and drop it afterwards."""
    if database == "SQLite":
        with tempfile.TemporaryDirectory(prefix="bench_") as folder:
            yield f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        return
    name = f"bench_{os.getpid()}_{next(_numbers)}"
    utf8 = " CHARACTER SET utf8mb4" if database == "MariaDB" else ""
    _on_server(database, f"CREATE DATABASE {name}{utf8}")
    try:
        yield urlsplit(DATABASES[database])._replace(path=f"/{name}").geturl()
    finally:
        force = " WITH (FORCE)" if database == "PostgreSQL" else ""
        _on_server(database, f"DROP DATABASE {name}{force}")


def _on_server(database: str, statement: str) -> Any:
    """Execute a statement outside of any database of ours; return its first value, if any."""
    connect = _connect_to_postgresql if database == "PostgreSQL" else _connect_to_mariadb
    address = urlsplit(DATABASES[database])
    connection = connect(
        host=address.hostname or "",
        port=address.port,
        user=address.username,
        password=address.password or "",
    )
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def _connect_to_postgresql(**address: Any) -> Any:
    return psycopg.connect(dbname="postgres", autocommit=True, **address)


def _connect_to_mariadb(**address: Any) -> Any:
    connect: Callable[..., Any] = pymysql.connect
    return connect(autocommit=True, **address)
