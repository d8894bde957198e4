"""Put back what a cleanup removed, from a copy that is made the first time."""

from typing import Any

from django.apps import apps
from django.db import connection, transaction

from benchmarks.inside import bulk

_KEPT = "bench_kept"


def main() -> dict[str, Any]:
    """Keep a copy of the rows of our two tables, or bring them back from it."""
    present = connection.introspection.table_names()
    for name in ("BlacklistEntry", "TokenSession"):
        meta = apps.get_model("tokens", name)._meta
        table, key = meta.db_table, connection.ops.quote_name(meta.pk.column)
        kept = f"{_KEPT}_{name.lower()}"
        with transaction.atomic(), connection.cursor() as cursor:
            if kept not in present:
                cursor.execute(f"CREATE TABLE {kept} AS SELECT * FROM {table}")
                continue
            # Not by conflict, which would try each of the rows that a cleanup left.
            cursor.execute(
                f"INSERT INTO {table} SELECT {kept}.* FROM {kept} LEFT JOIN {table}"
                f" ON {table}.{key} = {kept}.{key} WHERE {table}.{key} IS NULL"
            )
    bulk.settle()
    return {}
