"""Write millions of rows by the fastest way that each database has."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from tempfile import NamedTemporaryFile

from django.db import connection, models, transaction

Row = tuple[str | None, ...]

_CHUNK = 20_000


def load(model: type[models.Model], fields: str, rows: Iterable[Row]) -> None:
    """Insert ``rows`` of texts (no tabs, no backslashes) as the named ``fields`` of ``model``."""
    quote = connection.ops.quote_name
    columns = [quote(model._meta.get_field(name).column) for name in fields.split()]
    table = quote(model._meta.db_table)
    _LOAD[connection.vendor](table, columns, _chunks(rows))


def settle() -> None:
    """Let the database finish what filling left to do, so that nothing else pays for it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
        elif connection.vendor == "sqlite":
            cursor.execute("ANALYZE")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            names = ", ".join(
                map(connection.ops.quote_name, connection.introspection.table_names())
            )
            cursor.execute(f"ANALYZE TABLE {names}")
            cursor.fetchall()
            cursor.execute(f"FLUSH TABLES {names} FOR EXPORT")  # waits for purge, writes all pages
            cursor.execute("UNLOCK TABLES")


def _copy(table: str, columns: list[str], chunks: Iterator[list[Row]]) -> None:
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in chunks:
            copy.write(_text(chunk))


def _load_data(table: str, columns: list[str], chunks: Iterator[list[Row]]) -> None:
    statement = f"LOAD DATA LOCAL INFILE %s INTO TABLE {table} CHARACTER SET utf8mb4"
    for chunk in chunks:
        with NamedTemporaryFile("w", prefix="bench_") as file, connection.cursor() as cursor:
            file.write(_text(chunk))
            file.flush()
            cursor.execute(f"{statement} ({', '.join(columns)})", [file.name])


def _insert_many(table: str, columns: list[str], chunks: Iterator[list[Row]]) -> None:
    places = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
    for chunk in chunks:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(statement, chunk)


_LOAD: dict[str, Callable[[str, list[str], Iterator[list[Row]]], None]] = {
    "postgresql": _copy,
    "mysql": _load_data,
    "sqlite": _insert_many,
}


def _text(rows: list[Row]) -> str:
    """Return the rows in the format that COPY and LOAD DATA share."""
    lines = ["\t".join(["\\N" if value is None else value for value in row]) for row in rows]
    return "\n".join(lines) + "\n"


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
