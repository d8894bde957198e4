"""Time a cleanup while somebody holds one row: ``DATABASE_URL=… python -m tests.locked_row``.

Prints the server, the driver, the seconds, and how many of 2,000 expired entries went.
"""

import os
from time import monotonic
from typing import Any

import django

ROWS = 2_000


def hold(other: Any, row: Any) -> None:
    """Lock a row in a transaction of ``other`` that stays open."""
    name, key = other.ops.quote_name, row._meta.pk
    sql = f"SELECT 1 FROM {name(row._meta.db_table)} WHERE {name(key.column)} = %s FOR UPDATE"
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute(sql, [key.get_db_prep_value(row.pk, other)])


def main() -> None:
    from django.db import connection

    from tokens import cleanup
    from tokens.models import BlacklistEntry

    from . import driver
    from .expiring import add_entries

    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        add_entries(ROWS)
        held = BlacklistEntry.objects.order_by("expires_at")[ROWS // 20]
        other = connection.copy()
        if connection.features.has_select_for_update:
            hold(other, held)
        began = monotonic()
        report = cleanup.run()
        seconds = monotonic() - began
        other.close()
        note = "" if connection.features.has_select_for_update else " (it has no row locks)"
        version = ".".join(map(str, connection.get_database_version()))
        print(
            f"{connection.display_name} {version}{note}, {driver.name()}: {report.outcome} in"
            f" {seconds:.2f} s, {report.entries_removed:,} of {ROWS:,} removed"
        )
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    main()
