"""One batch at a time: what goes, in what order, and at what price."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import pre_delete

from tokens import cleanup, clock
from tokens.cleanup import batches
from tokens.keys import uuid7
from tokens.models import BlacklistEntry, TokenSession

from .conftest import DAY
from .expiring import add_entries, add_sessions

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_oldest_go_first() -> None:
    for days in (5, 3, 9, 7):
        add_entries(1, ends=-days * DAY, subject=str(days))
    assert batches.delete(BlacklistEntry.objects.all(), clock.now(), limit=2).removed == 2
    assert set(BlacklistEntry.objects.values_list("subject", flat=True)) == {"3", "5"}


def test_a_batch_is_two_statements_and_on_sqlite_one(statements: Callable[[], Any]) -> None:
    each = 1 if connection.vendor == "sqlite" else 2
    with statements() as idle:
        cleanup.run(batch_size=10, pause=0)
    for number in range(35):
        add_entries(1, ends=-2 * DAY - timedelta(seconds=number))
    with statements() as busy:
        cleanup.run(batch_size=10, pause=0)
    assert len(busy) == len(idle) + 3 * each
    assert len(idle) == 10 + 2 * each, idle


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_every_expired_row_goes_whatever_the_ties_and_the_size_of_a_batch(size: int) -> None:
    for ends in (-3, -3, -3, -2, -2, -1, -1, -1, -1, 1):
        add_entries(1, ends=ends * DAY)
        add_sessions(1, ends=ends * DAY)
    report = cleanup.run(batch_size=size)
    assert (report.entries_removed, report.sessions_removed) == (9, 9)
    assert (BlacklistEntry.objects.count(), TokenSession.objects.count()) == (1, 1)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite's index begins with what is left")
def test_a_batch_goes_on_where_the_one_before_ended() -> None:
    """Else each walks over all that the ones before have deleted, until that is cleared away."""
    for days in (9, 7, 5, 3):
        add_entries(1, ends=-days * DAY)
    ends = sorted(BlacklistEntry.objects.values_list("expires_at", flat=True))
    rows = BlacklistEntry.objects.all()
    first = batches.delete(rows, clock.now(), limit=2)
    late = BlacklistEntry.objects.create(
        key=uuid7(), scope="session", subject="late", reason="logout", expires_at=ends[0]
    )
    second = batches.delete(rows, clock.now(), limit=5, reached=first.reached)
    assert (first.removed, second.removed) == (2, 2)
    assert BlacklistEntry.objects.get() == late


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one lock, for all rows")
@pytest.mark.parametrize("add", [add_entries, add_sessions])
def test_a_row_that_somebody_holds_on_to_is_passed_by_and_goes_next_time(add: Any) -> None:
    add(1, ends=-3 * DAY)
    add(3)
    model = BlacklistEntry if add is add_entries else TokenSession
    held = model.objects.earliest("expires_at")
    other = connection.copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        name = connection.ops.quote_name
        table, key = name(model._meta.db_table), name(model._meta.pk.column)
        value = model._meta.pk.get_db_prep_value(held.pk, connection)
        cursor.execute(f"SELECT 1 FROM {table} WHERE {key} = %s FOR UPDATE", [value])
        began = time.monotonic()
        report = cleanup.run()
        seconds = time.monotonic() - began
    other.rollback()
    other.close()
    assert (report.outcome, report.removed) == ("succeeded", 3)
    assert seconds < 45, "InnoDB's own patience is 50 seconds"
    assert model.objects.get() == held
    assert cleanup.run().removed == 1


def test_whoever_listens_to_deletions_hears_of_each_row() -> None:
    add_entries(5)
    heard = []

    def listen(instance: Any, **kwargs: Any) -> None:
        heard.append(instance.pk)

    pre_delete.connect(listen, sender=BlacklistEntry)
    try:
        report = cleanup.run(batch_size=2)
    finally:
        pre_delete.disconnect(listen, sender=BlacklistEntry)
    assert len(set(heard)) == 5
    assert (report.entries_removed, report.batches) == (5, 3)
    assert not BlacklistEntry.objects.exists()


def test_nobody_listens_by_default(statements: Callable[[], Any]) -> None:
    add_entries(5)
    with statements() as ran:
        cleanup.run()
    deletions = [sql for sql in ran if "DELETE" in sql and "tokens_blacklistentry" in sql]
    assert len(deletions) == 1


def test_a_batch_refuses_to_ignore_a_selection() -> None:
    with pytest.raises(TypeError, match="whole table"):
        batches.delete(BlacklistEntry.objects.filter(subject="s"), clock.now(), limit=1)


def _pages() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA cache_size")
        return cursor.fetchone()[0]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the servers have memory of their own")
@pytest.mark.parametrize("own", [-2000, -500, 7000])
def test_while_it_runs_sqlite_has_more_memory_unless_told_how_much(own: Any) -> None:
    add_entries(2)
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA cache_size = {own}")
    seen = []
    cleanup.run(progress=lambda _rows: seen.append(_pages()))
    assert seen == [-12_000 if own == -2000 else own]
    assert _pages() == own
    connection.close()
