"""Batches in the order of the index on ``expires_at``, and in the physical order of the table."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.db.models.signals import pre_delete

from tests import deleting
from tests.deleting import replace_batches
from tokens import cleanup, clock, databases
from tokens.cleanup import batches, lease, removal
from tokens.databases import Order, Position, orders
from tokens.databases.orders import COUNTED, Batch, Expired, Sizes, first
from tokens.keys import uuid7
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

from .conftest import DAY
from .expiring import IN_A_WHILE, LONG_AGO, add_entries, add_sessions, in_order

pytestmark = pytest.mark.django_db(transaction=True)

no_row_locks = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one lock, for all rows"
)
only_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="about plans of PostgreSQL"
)
only_innodb = pytest.mark.skipif(connection.vendor != "mysql", reason="about InnoDB")


@pytest.fixture(params=list(Order), ids=str)
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Order:
    """Let both tables be gone through in this order, however few rows they have."""
    in_order(monkeypatch, request.param)
    return Order(request.param)


@pytest.fixture
def physical(monkeypatch: pytest.MonkeyPatch) -> None:
    in_order(monkeypatch, Order.PHYSICAL)


@contextmanager
def another_connection(*, transaction: bool = False) -> Iterator[Any]:
    other = connection.copy()
    other.inc_thread_sharing()
    try:
        if transaction:
            other.set_autocommit(False)
        yield other
        if transaction:
            other.rollback()
    finally:
        other.close()


def add_mixed(count: int, *, live_each: int = 3) -> None:
    """Add expired entries with live ones between them, and ends in no order."""
    now, rows = clock.now(), list[tuple[str, datetime]]()
    for number in range(count):
        rows.append(("expired", now + LONG_AGO - (number * 7 % 10) * DAY))
        rows += [("live", now + IN_A_WHILE)] * live_each
    add_rows((uuid7(), subject, end) for subject, end in rows)


def add_rows(rows: Iterable[tuple[UUID, str, datetime]]) -> None:
    """Add entries in this order, by one statement."""
    BlacklistEntry.objects.bulk_create(
        BlacklistEntry(key=key, scope="session", subject=subject, expires_at=end)
        for key, subject, end in rows
    )


def add_in_no_order(count: int, *, live_each: int) -> None:
    """Add entries with random keys, of which one in ``live_each`` is live."""
    now = clock.now()
    ends = [now + (LONG_AGO if number % live_each else IN_A_WHILE) for number in range(count)]
    add_rows((uuid4(), "s", end) for end in ends)


def subjects() -> list[str]:
    return list(BlacklistEntry.objects.order_by("subject").values_list("subject", flat=True))


# Which order


def sizes(expired: int, rows: float | None, last: object = 1) -> Sizes:
    return Sizes(expired, rows, last)


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (sizes(50_000, 1_000_000), Order.PHYSICAL),
        (sizes(19_999, 1_000_000), Order.INDEX),
        (sizes(1_000, 1_000), Order.INDEX),
        (sizes(COUNTED, 900_000_000), Order.PHYSICAL),
        (sizes(COUNTED, None), Order.PHYSICAL),
        (sizes(COUNTED - 1, None), Order.INDEX),
        (sizes(2_000, 0), Order.PHYSICAL),
        (sizes(50_000, 1_000_000, None), Order.INDEX),
        (Sizes(), Order.INDEX),
    ],
    ids=[
        "much",
        "little",
        "a few rows",
        "as many as are counted",
        "unknown, many",
        "unknown, fewer",
        "old statistics",
        "no such order",
        "not asked",
    ],
)
def test_physical_order_is_for_a_good_part_of_a_table(found: Sizes, chosen: Order) -> None:
    assert first(found, 0.02).order is chosen


@pytest.mark.parametrize("analyzed", [False, True], ids=["never analyzed", "analyzed"])
@pytest.mark.parametrize(("expired", "live"), [(60, 20), (2, 300)], ids=["much", "little"])
def test_the_database_knows_about_how_much_has_expired(
    monkeypatch: pytest.MonkeyPatch, analyzed: bool, expired: int, live: int
) -> None:
    monkeypatch.setattr(orders, "FEW", 1)
    monkeypatch.setattr("tokens.databases.sqlite.FEW", 1)
    truncate()
    add_entries(live, ends=IN_A_WHILE)
    add_entries(expired)
    if analyzed or connection.vendor == "mysql":
        analyze()
    chosen = batches.first(BlacklistEntry.objects.all(), clock.now())
    assert chosen.order is (Order.PHYSICAL if expired > live else Order.INDEX)


def truncate() -> None:
    """Take back the blocks of rows that other tests have deleted: PostgreSQL counts blocks."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {BlacklistEntry._meta.db_table}")


def analyze() -> None:
    table = connection.ops.quote_name(BlacklistEntry._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")


def test_the_choice_is_one_statement_for_each_table(statements: Callable[[], Any]) -> None:
    add_entries(3)
    with statements() as ran:
        batches.first(BlacklistEntry.objects.all(), clock.now())
    assert len(ran) == 1


def test_a_run_says_in_which_order_it_went(order: Order) -> None:
    add_entries(2)
    add_sessions(1)
    output = StringIO()
    call_command("cleanup_tokens", format="json", stdout=output)
    report = json.loads(output.getvalue())
    assert (report["entries_order"], report["sessions_order"]) == (order, order)
    run = CleanupRun.objects.get()
    assert (run.entries_order, run.sessions_order) == (order, order)


def test_a_run_that_stops_before_a_table_has_no_order_for_it(order: Order) -> None:
    add_entries(1)
    add_sessions(1)
    stop = threading.Event()
    report = cleanup.run(stop=stop, progress=lambda _rows: stop.set())
    assert (report.entries_order, report.sessions_order) == (order, "")


def test_a_choice_that_fails_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("tokens.databases.base.first", fail)
    add_entries(3)
    report = cleanup.run()
    assert (report.outcome, report.removed, report.entries_order) == ("succeeded", 3, "index")


@only_innodb
def test_above_read_committed_it_goes_by_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """InnoDB would keep locks on all rows that a range has, live ones too."""
    add_entries(5)
    assert batches.first(BlacklistEntry.objects.all(), clock.now()) == Position()
    found = database().sizes(expired_entries())
    assert found.last is not None
    for level in (None, "repeatable read", "serializable"):
        monkeypatch.setattr(connections["default"], "isolation_level", level)
        assert database().sizes(expired_entries()) == Sizes()


@only_postgresql
def test_before_postgresql_14_and_in_parts_it_goes_by_the_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_entries(5)
    assert database().sizes(expired_entries()).last.number >= 1
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE parts (expires_at timestamptz) PARTITION BY RANGE (expires_at)"
        )
        try:
            assert database().sizes(expired_entries()._replace(table='"parts"')) == Sizes()
        finally:
            cursor.execute("DROP TABLE parts")
    monkeypatch.setitem(connections["default"].__dict__, "pg_version", 130_011)
    assert database().sizes(expired_entries()) == Sizes()


def database() -> databases.Database:
    return databases.of(connections["default"])


def expired_entries() -> Expired:
    name, meta = connection.ops.quote_name, BlacklistEntry._meta
    end = connection.ops.adapt_datetimefield_value(clock.now())
    return Expired(name(meta.db_table), name(meta.pk.column), end)


def test_rows_that_have_to_be_loaded_go_by_the_index(physical: None) -> None:
    add_entries(5)
    add_sessions(1)
    heard = []

    def listen(instance: Any, **kwargs: Any) -> None:
        heard.append(instance.pk)

    pre_delete.connect(listen, sender=BlacklistEntry)
    try:
        report = cleanup.run(batch_size=2)
    finally:
        pre_delete.disconnect(listen, sender=BlacklistEntry)
    assert len(set(heard)) == report.entries_removed == 5
    assert (report.entries_order, report.sessions_order) == ("index", "physical")


# What goes and what stays


def marked(*sizes: int) -> list[Any]:
    return [pytest.param(size, marks=pytest.mark.thorough) for size in sizes]


@pytest.mark.parametrize("size", [3, *marked(1, 7, 100)])
def test_all_that_has_expired_goes_and_nothing_else(order: Order, size: int) -> None:
    add_mixed(12)
    add_sessions(9)
    add_sessions(2, ends=IN_A_WHILE)
    report = cleanup.run(batch_size=size, pause=0)
    assert (report.entries_removed, report.sessions_removed) == (12, 9)
    assert set(subjects()) == {"live"}
    assert (len(subjects()), TokenSession.objects.count()) == (36, 2)


def test_keys_in_no_order_make_no_difference(order: Order) -> None:
    add_in_no_order(40, live_each=3)
    assert cleanup.run(batch_size=4, pause=0).removed == 26
    assert BlacklistEntry.objects.count() == 14


@pytest.mark.parametrize("size", [4, *marked(1, 10)])
def test_a_batch_has_no_more_rows_than_it_is_told(order: Order, size: int) -> None:
    add_mixed(10, live_each=1)
    add_entries(30)
    sizes: list[int] = []
    cleanup.run(batch_size=size, pause=0, progress=sizes.append)
    assert sum(sizes) == 40
    assert max(sizes) == size


def test_many_rows_with_one_end_are_batches_as_others_are(order: Order) -> None:
    add_entries(25)
    sizes: list[int] = []
    cleanup.run(batch_size=10, pause=0, progress=sizes.append)
    assert (sum(sizes), max(sizes)) == (25, 10)
    assert len(sizes) <= 5


@pytest.mark.parametrize(("batch_size", "live"), [(7, 300), (None, 2_500)], ids=["given", "adapts"])
def test_a_range_in_which_nothing_has_expired_is_not_the_end(
    order: Order, batch_size: int | None, live: int
) -> None:
    add_entries(2, subject="first")
    add_entries(live, ends=IN_A_WHILE)
    add_entries(2, subject="last")
    assert cleanup.run(batch_size=batch_size, pause=0).removed == 4
    assert BlacklistEntry.objects.count() == live


def test_ranges_in_which_nothing_has_expired_are_passed_quickly(
    physical: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_entries(2_000, ends=IN_A_WHILE)
    add_entries(1)
    asked = watched_batches(monkeypatch)
    assert cleanup.run(batch_size=10, pause=0).removed == 1
    assert len(asked) < 30, "ten rows each would be 200"


def watched_batches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []

    def delete(rows: Any, cutoff: Any, *, limit: int, reached: Any) -> Batch:
        asked.append((limit, reached))
        return deleting.real(rows, cutoff, limit=limit, reached=reached)

    replace_batches(monkeypatch, delete)
    return asked


def test_signs_of_life_go_on_where_nothing_is_found(
    physical: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_entries(300, ends=IN_A_WHILE)
    beats: list[Any] = []
    keep = lease.Lease.keep

    def beat(*arguments: Any) -> bool:
        beats.append(arguments)
        return keep(*arguments)

    monkeypatch.setattr(lease.Lease, "keep", beat)
    options = removal.Work.__init__.__kwdefaults__ or {}
    monkeypatch.setattr(removal.Work.__init__, "__kwdefaults__", options | {"heartbeat": 0.0})
    assert cleanup.run(batch_size=5, pause=0).removed == 0
    assert len(beats) > 3


def test_it_ends_where_the_table_ended_when_it_began(physical: None) -> None:
    add_entries(200)
    added = []

    def grow(_rows: int) -> None:
        if len(added) < 1_000:
            add_entries(50, subject="late")
            added.append(50)

    report = cleanup.run(batch_size=20, pause=0, progress=grow)
    assert 200 <= report.removed < 200 + sum(added)
    assert report.batches < 100


def test_it_goes_on_after_it_was_stopped(order: Order) -> None:
    add_mixed(10)
    stop = threading.Event()
    report = cleanup.run(batch_size=3, stop=stop, progress=lambda _rows: stop.set())
    assert report.outcome == "partial"
    assert 1 <= report.removed <= 3
    assert cleanup.run(batch_size=3).removed == 10 - report.removed
    assert set(subjects()) == {"live"}


def test_it_stops_where_nothing_is_found_too(
    physical: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_entries(300, ends=IN_A_WHILE)
    add_entries(1)
    stop, seen = threading.Event(), []

    def delete(rows: Any, cutoff: Any, *, limit: int, reached: Any) -> Batch:
        seen.append(limit)
        if len(seen) == 2:
            stop.set()
        return deleting.real(rows, cutoff, limit=limit, reached=reached)

    replace_batches(monkeypatch, delete)
    report = cleanup.run(batch_size=5, pause=0, stop=stop)
    assert (report.outcome, report.removed, len(seen)) == ("partial", 0, 2)


def test_a_batch_that_fails_is_tried_again_from_where_it_began(
    order: Order, monkeypatch: pytest.MonkeyPatch, no_waiting: None
) -> None:
    add_mixed(20)
    asked: list[Any] = []

    def delete(rows: Any, cutoff: Any, *, limit: int, reached: Any) -> Batch:
        asked.append((limit, reached and reached.at))
        if len(asked) in (2, 3):
            raise OperationalError("deadlock")
        return deleting.real(rows, cutoff, limit=limit, reached=reached)

    replace_batches(monkeypatch, delete)
    assert cleanup.run(batch_size=8, pause=0).removed == 20
    assert [limit for limit, _at in asked[:4]] == [8, 8, 4, 2]
    assert len({str(at) for _limit, at in asked[1:4]}) == 1
    assert set(subjects()) == {"live"}


# Others at work


@no_row_locks
@pytest.mark.parametrize("held", ["expired", "live"])
@pytest.mark.parametrize("add", [add_entries, add_sessions])
def test_a_row_that_somebody_holds_is_passed_by(order: Order, add: Any, held: str) -> None:
    add(4)
    add(1, ends=LONG_AGO - DAY if held == "expired" else IN_A_WHILE)
    add(4)
    model = BlacklistEntry if add is add_entries else TokenSession
    ends = model.objects.order_by("expires_at")  # type: ignore[attr-defined]
    row = ends.first() if held == "expired" else ends.last()
    with another_connection(transaction=True) as other:
        lock(other, model, row)
        began = time.monotonic()
        report = cleanup.run(pause=0)
        seconds = time.monotonic() - began
    assert (report.outcome, report.removed) == ("succeeded", 8)
    assert seconds < 45, "InnoDB's own patience is 50 seconds"
    assert model.objects.get() == row  # type: ignore[attr-defined]
    assert cleanup.run().removed == (1 if held == "expired" else 0)


def lock(other: Any, model: Any, row: Any) -> None:
    name = connection.ops.quote_name
    table, key = name(model._meta.db_table), name(model._meta.pk.column)
    value = model._meta.pk.get_db_prep_value(row.pk, connection)
    with other.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {table} WHERE {key} = %s FOR UPDATE", [value])


@no_row_locks
def test_several_rows_that_are_held_are_all_passed_by(order: Order) -> None:
    add_mixed(30)
    held = list(BlacklistEntry.objects.order_by("?").filter(subject="expired")[:5])
    with another_connection(transaction=True) as other:
        for row in held:
            lock(other, BlacklistEntry, row)
        report = cleanup.run(batch_size=4, pause=0)
    assert (report.outcome, report.removed) == ("succeeded", 25)
    assert cleanup.run(batch_size=4).removed == 5


@no_row_locks
def test_a_row_that_is_extended_meanwhile_stays(order: Order) -> None:
    """It is extended when the batch has looked where to stop, and has not deleted yet."""
    add_mixed(6)
    extended = BlacklistEntry.objects.filter(subject="expired").order_by("key")[2]
    later = connection.ops.adapt_datetimefield_value(clock.now() + DAY)
    key = BlacklistEntry._meta.pk.get_db_prep_value(extended.pk, connection)
    column = connection.ops.quote_name("key")
    done = []

    def extend(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "DELETE " in sql and "blacklistentry" in sql and not done:
            done.append(sql)
            with another_connection() as other, other.cursor() as cursor:
                cursor.execute(
                    f"UPDATE tokens_blacklistentry SET expires_at = %s WHERE {column} = %s",
                    [later, key],
                )
        return execute(sql, params, many, context)

    with connection.execute_wrapper(extend):
        assert cleanup.run(pause=0).removed == 5
    assert done
    assert BlacklistEntry.objects.filter(pk=extended.pk).exists()


# What each database does


@only_postgresql
def test_postgresql_reads_a_range_of_blocks_whatever_it_believes(physical: None) -> None:
    """Statistics of a table in which nothing has expired make the index look best."""
    add_entries(2_000, ends=IN_A_WHILE)
    analyze()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tokens_blacklistentry SET expires_at = %s", [clock.now() + LONG_AGO])
    plans: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "ctid >=" in sql:
            execute(f"EXPLAIN {sql}", params, many, context)
            plans.append("\n".join(line for (line,) in context["cursor"].fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        cleanup.run(batch_size=500, pause=0)
    assert len(plans) > 6
    assert all("Tid Range Scan" in plan for plan in plans), plans


@only_postgresql
def test_postgresql_keeps_its_plans_for_others(physical: None) -> None:
    add_entries(3)
    cleanup.run()
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_indexscan")
        assert cursor.fetchone() == ("on",)


@only_innodb
def test_innodb_goes_by_its_primary_key(physical: None) -> None:
    add_mixed(50, live_each=1)
    direct: Any = connections["default"]
    explaining = "EXPLAIN" if direct.mysql_is_mariadb else "EXPLAIN FORMAT=TRADITIONAL"
    plans: list[Any] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INTERVAL" in sql:
            plain = sql.split("FOR */")[-1]
            execute(f"{explaining} {plain}", params, many, context)
            names = [column[0] for column in context["cursor"].description]
            plans.extend(dict(zip(names, row, strict=True)) for row in context["cursor"].fetchall())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        assert cleanup.run(batch_size=10, pause=0).removed == 50
    assert {plan["key"] for plan in plans if not str(plan["table"]).startswith("<")} == {"PRIMARY"}


@only_innodb
@pytest.mark.parametrize(
    "kind", ["char(36) COLLATE utf8mb4_general_ci", "char(36) COLLATE utf8mb4_bin"]
)
def test_ranges_are_in_the_order_of_the_column(physical: None, kind: str) -> None:
    add_in_no_order(60, live_each=2)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_type FROM information_schema.columns WHERE table_schema = DATABASE()"
            " AND table_name = 'tokens_blacklistentry' AND column_name = 'key'"
        )
        [own] = cursor.fetchone()
        cursor.execute(f"ALTER TABLE tokens_blacklistentry MODIFY `key` {kind} NOT NULL")
        try:
            assert cleanup.run(batch_size=7, pause=0).entries_removed == 30
        finally:
            cursor.execute(f"ALTER TABLE tokens_blacklistentry MODIFY `key` {own} NOT NULL")
    assert BlacklistEntry.objects.count() == 30


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about the numbers of SQLite's rows")
def test_gaps_between_the_numbers_of_rows_are_no_rows(physical: None) -> None:
    add_entries(20)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tokens_blacklistentry SET rowid = rowid * 1000000 WHERE rowid > 10")
    seen: list[int] = []
    cleanup.run(batch_size=10, pause=0, progress=seen.append)
    assert seen == [10] + [1] * 10


# Where to go on


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("stretch", "removed", "after"),
    [(1, 0, 2), (64, 0, 64), (1, 25, 2), (1, 26, 1), (4, 76, 2), (1, 99, 1), (4, 50, 4)],
)
def test_the_next_batch_looks_at_more_rows_if_few_were_found(
    stretch: int, removed: int, after: int
) -> None:
    start = Position(Order.PHYSICAL, at=5, last=9, stretch=stretch)
    batch = Expired("t", "k", 0, 100, start).limited(removed, 7)
    assert batch == (removed, True, start._replace(at=7, stretch=after))


@pytest.mark.any_database
def test_a_batch_that_reached_its_limit_is_gone_on_with_from_where_it_began() -> None:
    start = Position(Order.PHYSICAL, at=5, last=9, stretch=8)
    batch = Expired("t", "k", 0, 100, start).limited(100, None)
    assert batch == (100, True, start._replace(stretch=1))
    assert Expired("t", "k", 0, 100, start).limited(99, None) == (99, False, None)
