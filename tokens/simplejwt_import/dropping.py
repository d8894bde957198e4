"""Drop simplejwt's tables, and what else its app has left in the database."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.apps import apps
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from .. import clock, old_tables, retry
from ..models import BlacklistImport
from .pending import newest, pending

# Until then every process has looked again, and no longer asks the tables.
WAIT = timedelta(seconds=old_tables.LOOK_AGAIN + 30)


class NotImported(Exception):
    """The tables hold what no import has read. The message says so."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was removed. The JSON has the same names, so they are stable."""

    tables: int = 0
    migrations: int = 0
    content_types: int = 0


def drop(
    *,
    using: str,
    wait: timedelta = WAIT,
    sleep: Callable[[float], object] = time.sleep,
) -> Dropped:
    """Drop the tables, and forget that simplejwt's app was installed; return what was removed.

    First, ``wait`` long, it lets all processes stop asking the tables. What is gone already is no
    error. Raises NotImported unless an import is on record that has read all there is.
    """
    tables = 0
    if old_tables.are_there(using):
        tables = _drop_tables(using, wait, sleep)
    return retry.write(lambda _attempt: _forget(using, tables), using=using)


def _drop_tables(using: str, wait: timedelta, sleep: Callable[[float], object]) -> int:
    _check(using)
    imports = BlacklistImport.objects.using(using)
    last = newest(using)
    if last is not None and last.dropping_since is None:
        imports.update(dropping_since=clock.database_now(using))
    try:
        sleep(wait.total_seconds())
        # A server that was not stopped may have blacklisted more meanwhile.
        _check(using)
        retry.write(lambda _attempt: _delete_tables(using), using=using)
    except BaseException:
        imports.update(dropping_since=None)
        raise
    finally:
        old_tables.look(using=using)
    return 2


def _check(using: str) -> None:
    found = pending(using)
    if not found.imported:
        raise NotImported("No import is on record")
    if found.added_since:
        raise NotImported("simplejwt has blacklisted more since the last import")


def _delete_tables(using: str) -> None:
    name = connections[using].ops.quote_name
    with connections[using].cursor() as cursor:
        for table in (old_tables.BLACKLISTED, old_tables.OUTSTANDING):
            cursor.execute(f"DROP TABLE {name(table)}")


def _forget(using: str, tables: int) -> Dropped:
    """Let a later ``migrate`` make the tables anew, and a later import begin anew."""
    BlacklistImport.objects.using(using).delete()
    recorder = MigrationRecorder(connections[using])
    migrations = 0
    if recorder.has_table():
        migrations = recorder.migration_qs.filter(app=old_tables.APP).delete()[0]
    return Dropped(tables, migrations, _forget_content_types(using))


def _forget_content_types(using: str) -> int:
    """Delete the content types, and with them the permissions."""
    if not apps.is_installed("django.contrib.contenttypes"):
        return 0
    from django.contrib.contenttypes.models import ContentType

    with connections[using].cursor() as cursor:
        names = connections[using].introspection.table_names(cursor)
    if ContentType._meta.db_table not in names:
        return 0
    rows = ContentType.objects.using(using).filter(app_label=old_tables.APP)
    number = rows.count()
    rows.delete()
    ContentType.objects.clear_cache()
    return number
