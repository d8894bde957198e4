"""Put back what a cleanup removed, from a copy that is made the first time."""

from typing import Any

from django.apps import apps
from django.db import connection, transaction

from benchmarks.inside import bulk

_KEPT = "bench_kept"

# Rows that a cleanup left are still there.
_INSERT = {
    "postgresql": "INSERT INTO {table} SELECT * FROM {kept} ON CONFLICT DO NOTHING",
    "mysql": "INSERT IGNORE INTO {table} SELECT * FROM {kept}",
    "sqlite": "INSERT OR IGNORE INTO {table} SELECT * FROM {kept}",
}


def main() -> dict[str, Any]:
    """Keep a copy of the rows of our two tables, or bring them back from it."""
    present = connection.introspection.table_names()
    for name in ("BlacklistEntry", "TokenSession"):
        table = apps.get_model("tokens", name)._meta.db_table
        kept = f"{_KEPT}_{name.lower()}"
        with transaction.atomic(), connection.cursor() as cursor:
            if kept in present:
                cursor.execute(_INSERT[connection.vendor].format(table=table, kept=kept))
            else:
                cursor.execute(f"CREATE TABLE {kept} AS SELECT * FROM {table}")
    bulk.settle()
    return {}
