"""Empty the test's database in a fraction of the time that ``manage.py flush`` takes."""

from typing import Any

from django.core.management import call_command
from django.db import connections, transaction
from django.test import TransactionTestCase

# Filled by ``migrate``, and hardly ever changed by a test. ``flush`` makes them anew each time.
FILLED_BY_MIGRATE = ("auth_permission", "django_content_type")

LONG = 8 * 8192  # bytes: eight pages of PostgreSQL

_filled: dict[str, list[int]] = {}


def empty(alias: str) -> None:
    """Empty the tables that hold rows; those that ``migrate`` fills only if they were changed."""
    dirty, filled = _look(alias)
    if filled != _filled[alias]:
        call_command("flush", verbosity=0, interactive=False, database=alias)
    elif dirty:
        connection = connections[alias]
        with transaction.atomic(using=alias), connection.constraint_checks_disabled():
            connection.ops.execute_sql_flush(_statements(connection, dirty))


def _look(alias: str) -> tuple[list[str], list[int]]:
    """Return the tables that hold rows, and the number of rows in those that migrate fills."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    names = connection.introspection.django_table_names(include_views=False)
    tables = sorted(set(names).difference(FILLED_BY_MIGRATE))
    questions = [f"EXISTS (SELECT 1 FROM {quote(table)})" for table in tables]
    questions += [f"(SELECT COUNT(*) FROM {quote(table)})" for table in FILLED_BY_MIGRATE]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(questions)}")
        found = cursor.fetchone()
    dirty = [table for table, holds in zip(tables, found, strict=False) if holds]
    return dirty, list(found[len(tables) :])


def _statements(connection: Any, tables: list[str]) -> list[str]:
    quoted = [connection.ops.quote_name(table) for table in tables]
    if connection.vendor == "postgresql" and _any_is_long(connection, tables):
        return [f"TRUNCATE {', '.join(quoted)} CASCADE"]
    return [f"DELETE FROM {table}" for table in quoted]


def _any_is_long(connection: Any, tables: list[str]) -> bool:
    """Return whether what PostgreSQL keeps of one of the tables after DELETE is more than a little.

    Some tests are about where rows lie. But TRUNCATE makes a new file for each table and for each
    index of it and of what refers to it, which takes far longer than a test does.
    """
    names = [connection.ops.quote_name(table) for table in tables]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(pg_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name", [names]
        )
        return bool(cursor.fetchone()[0] > LONG)


def _fixture_teardown(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        empty(alias)


def replace_flush() -> None:
    """Let each test with real transactions end with ``empty`` from now on."""
    for alias in connections:
        _filled[alias] = _look(alias)[1]
    TransactionTestCase._fixture_teardown = _fixture_teardown  # type: ignore[attr-defined]
