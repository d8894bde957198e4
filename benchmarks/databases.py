"""Databases that exist for one measurement, on the servers that the tests use."""

import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql

from tests.databases import DATABASES, answers

_numbers = itertools.count(1)


# PostgreSQL first, because it says most.
ORDER = ("PostgreSQL", "MariaDB", "SQLite")
_wanted = list(ORDER)


def want(names: list[str]) -> None:
    """Leave out the other databases from now on."""
    _wanted[:] = [name for name in ORDER if name in names]


def available() -> list[str]:
    """Return the names of the databases at hand that are wanted."""
    return [name for name in _wanted if answers(DATABASES[name])]


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
    utf8 = " CHARACTER SET utf8mb4" if database == "MariaDB" else ""
    with _named(database, utf8) as url:
        yield url


@contextmanager
def copied(database: str, url: str) -> Iterator[str]:
    """Give the URL of a copy of the database at ``url``, which nobody uses meanwhile.

    A copy on MariaDB has no foreign keys.
    """
    if database == "PostgreSQL":
        with _named(database, f" TEMPLATE {_name(url)} STRATEGY FILE_COPY") as copy:
            yield copy
        return
    with temporary(database) as copy:
        if database == "SQLite":
            _copy_file(_file(url), _file(copy))
        else:
            _copy_tables(_name(url), _name(copy))
        yield copy


@contextmanager
def _named(database: str, how: str) -> Iterator[str]:
    name = f"bench_{os.getpid()}_{next(_numbers)}"
    try:
        _on_server(database, f"CREATE DATABASE {name}{how}")
        yield urlsplit(DATABASES[database])._replace(path=f"/{name}").geturl()
    finally:
        if database == "MariaDB":
            _end_connections(name)
        force = " WITH (FORCE)" if database == "PostgreSQL" else ""
        _on_server(database, f"DROP DATABASE IF EXISTS {name}{force}")


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file)  # else the writing would be part of what is measured


def _copy_tables(source: str, target: str) -> None:
    """Copy table by table, and wait until all of it is on disk."""
    names = f"FROM information_schema.tables WHERE table_schema = '{source}'"
    tables = str(_on_server("MariaDB", f"SELECT group_concat(table_name) {names}")).split(",")
    statements = []
    for table in tables:
        statements.append(f"CREATE TABLE {target}.{table} LIKE {source}.{table}")
        statements.append(f"INSERT INTO {target}.{table} SELECT * FROM {source}.{table}")
    copies = ", ".join(f"{target}.{table}" for table in tables)
    statements += [f"ANALYZE TABLE {copies}", f"FLUSH TABLES {copies} FOR EXPORT"]
    _on_server("MariaDB", *statements)


def _end_connections(name: str) -> None:
    """End what a process that was killed left at work; DROP DATABASE would wait for it."""
    query = f"SELECT group_concat(id) FROM information_schema.processlist WHERE db = '{name}'"
    for number in filter(None, str(_on_server("MariaDB", query) or "").split(",")):
        with suppress(pymysql.err.OperationalError):  # it has ended by itself
            _on_server("MariaDB", f"KILL {number}")


def _on_server(database: str, *statements: str) -> Any:
    """Execute statements outside of any database of ours; return the last one's first value."""
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
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def _connect_to_postgresql(**address: Any) -> Any:
    return psycopg.connect(dbname="postgres", autocommit=True, **address)


def _connect_to_mariadb(**address: Any) -> Any:
    connect: Callable[..., Any] = pymysql.connect
    return connect(autocommit=True, **address)
