"""simplejwt's tables in the database of the test, for the tests of leaving them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django.plugin import DjangoDbBlocker

from tokens import clock, old_tables

from .conftest import PASSWORD
from .processes import PATIENCE, environment

ROOT = Path(__file__).resolve().parent.parent
TABLES = (old_tables.BLACKLISTED, old_tables.OUTSTANDING)  # the one refers to the other


def old_environment() -> dict[str, str]:
    return environment(SECRET_KEY=settings.SECRET_KEY, PASSWORD=PASSWORD)


@pytest.fixture(scope="session")
def _old_project(django_db_setup: None) -> Iterator[subprocess.Popen[str]]:
    """A process that all tests share, because to start takes far longer than what it does."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.old_project"],
        cwd=ROOT,
        env=old_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        yield child


def _obeyed(project: subprocess.Popen[str], order: str) -> dict[str, Any]:
    assert project.stdin
    assert project.stdout
    print(order, file=project.stdin, flush=True)
    answer = project.stdout.readline()
    assert answer, "the old project has ended, see its traceback"
    return dict(json.loads(answer))


@pytest.fixture
def old_project(_old_project: subprocess.Popen[str]) -> Callable[[str], dict[str, str]]:
    """Order "migrate", "make" or "repeat", and return the tokens that were made, by name."""

    def order(word: str) -> dict[str, str]:
        made = _obeyed(_old_project, word)
        old_tables.forget()
        return made

    return order


@pytest.fixture
def old_server(_old_project: subprocess.Popen[str]) -> Iterator[httpx.Client]:
    """A server of the old project, on the database of the test."""
    url = _obeyed(_old_project, "serve")["url"]
    # Without TLS there is no need to read all of the system's certificates.
    with httpx.Client(base_url=url, timeout=PATIENCE, verify=False) as client:  # noqa: S501
        yield client


def has_tables() -> bool:
    return bool(_tables())


def _tables() -> set[str]:
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    return set(TABLES).intersection(names)


def drop_by_hand() -> None:
    with connection.cursor() as cursor:
        for table in TABLES:
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
    """Leave the tables to the next test, if they are there, because to make them takes long."""
    if _tables() == set(TABLES):
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DELETE FROM {table}")
    else:
        drop_by_hand()
    MigrationRecorder(connection).migration_qs.filter(app=old_tables.APP).delete()
    ContentType.objects.filter(app_label=old_tables.APP).delete()
    ContentType.objects.clear_cache()
    old_tables.forget()
    old_tables.look(using="default")


@pytest.fixture(scope="module")
def _until_the_module_ends(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    yield
    with django_db_blocker.unblock():
        drop_by_hand()
        old_tables.look(using="default")


@pytest.fixture
def no_tables(transactional_db: None) -> None:
    drop_by_hand()
    old_tables.look(using="default")


@pytest.fixture
def old_schema(
    _until_the_module_ends: None,
    transactional_db: None,
    old_project: Callable[[str], dict[str, str]],
) -> Iterator[None]:
    """Let a project of plain simplejwt have migrated this database before ours is started."""
    old_project("migrate")
    yield
    _clean_up()


@pytest.fixture
def old(
    _until_the_module_ends: None,
    transactional_db: None,
    old_project: Callable[[str], dict[str, str]],
) -> Iterator[dict[str, str]]:
    """Tokens of every kind that simplejwt has made and, some of them, blacklisted, by name."""
    yield old_project("repeat")
    _clean_up()
