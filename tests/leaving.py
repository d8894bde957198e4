"""simplejwt's tables in the database of the test, for the tests of leaving them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from tokens import clock, old_tables

from .conftest import PASSWORD
from .processes import environment

ROOT = Path(__file__).resolve().parent.parent


def old_environment() -> dict[str, str]:
    return environment(SECRET_KEY=settings.SECRET_KEY, PASSWORD=PASSWORD)


def old_project(*arguments: str) -> Any:
    """Migrate as a project of plain simplejwt; with "make", make tokens and return them by name."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.old_project", *arguments],
        cwd=ROOT,
        env=old_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null")


def has_tables() -> bool:
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    return old_tables.BLACKLISTED in names or old_tables.OUTSTANDING in names


def drop_by_hand() -> None:
    with connection.cursor() as cursor:
        for table in (old_tables.BLACKLISTED, old_tables.OUTSTANDING):
            cursor.execute(f"DROP TABLE IF EXISTS {table}")


def blacklist_at_old_server(jti: str) -> None:
    """Do what simplejwt does to log out with a token that it has issued."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {old_tables.BLACKLISTED} (token_id, blacklisted_at)"
            f" SELECT id, %s FROM {old_tables.OUTSTANDING} WHERE jti = %s",
            [connection.ops.adapt_datetimefield_value(clock.now()), jti],
        )
        assert cursor.rowcount == 1


def _clean_up() -> None:
    drop_by_hand()
    MigrationRecorder(connection).migration_qs.filter(app=old_tables.APP).delete()
    ContentType.objects.filter(app_label=old_tables.APP).delete()
    ContentType.objects.clear_cache()
    old_tables.forget()
    old_tables.look(using="default")


@pytest.fixture
def old_schema(transactional_db: None) -> Iterator[None]:
    """Let a project of plain simplejwt have migrated this database before ours is started."""
    old_project()
    old_tables.forget()
    yield
    _clean_up()


@pytest.fixture
def old(transactional_db: None) -> Iterator[dict[str, str]]:
    """Tokens of every kind that simplejwt has made and, some of them, blacklisted, by name."""
    made = old_project("make")
    old_tables.forget()
    yield made
    _clean_up()
