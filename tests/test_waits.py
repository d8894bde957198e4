"""Somebody else's locks on whole tables: a run waits for them, but not deaf."""

import logging
import threading
from itertools import product
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from tests import deleting
from tokens import cleanup, clock, retry
from tokens.cleanup import attempts, batches, lease
from tokens.cleanup.backlog import cutoff_at
from tokens.cleanup.limits import Limits
from tokens.cleanup.removal import Work
from tokens.models import BlacklistEntry, CleanupRun

from .expiring import add_entries, add_sessions
from .locking import ENTRIES, MODES, RUNS, SESSIONS, Lock, locked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

only_servers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="readers of SQLite wait for nobody"
)


ASKED, OUT = "asked to stop", "out of time"
# Each mode, each end and each kind of table.
USUAL = [(ENTRIES, MODES[0], ASKED), (ENTRIES, MODES[-1], OUT), (RUNS, MODES[-1], ASKED)]


@pytest.mark.parametrize(
    ("table", "mode", "how"),
    [
        pytest.param(*one, marks=[] if one in USUAL else pytest.mark.thorough)
        for one in product([ENTRIES, SESSIONS, RUNS], MODES, [ASKED, OUT])
    ],
)
def test_a_run_that_waits_for_a_lock_stops_when_it_has_to(table: str, mode: str, how: str) -> None:
    add_entries(3)
    stop, limits = threading.Event(), dict[str, Any]()
    if how == ASKED:
        threading.Timer(0.3, stop.set).start()
    else:
        limits = {"max_seconds": 0.3}
    with locked(table, mode) as lock:
        report = cleanup.run(stop=stop, pause=0, **limits)
        assert lock.held, "it waited for the lock"
    assert (report.outcome, report.stopped) == ("partial", how)
    assert cleanup.run().outcome == "succeeded"
    assert not BlacklistEntry.objects.exists()


@pytest.mark.parametrize("table", [ENTRIES, pytest.param(RUNS, marks=pytest.mark.thorough)])
def test_a_lock_that_goes_away_only_delays_a_run(
    table: str, caplog: pytest.LogCaptureFixture
) -> None:
    add_entries(3)
    with locked(table, MODES[-1]) as lock:
        lock.release_in(2.5)
        report = cleanup.run()
    assert (report.outcome, report.removed) == ("succeeded", 3)
    told = [record.event for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["cleanup_waits"], "once, however often it tried"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite limits no statements")
@pytest.mark.parametrize(
    "mode", [MODES[0], *(pytest.param(one, marks=pytest.mark.thorough) for one in MODES[1:])]
)
def test_a_limit_on_statements_makes_no_failure_of_a_wait(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    if connection.vendor == "mysql" and not connection.mysql_is_mariadb:
        pytest.skip("MySQL limits no statement that writes")
    limit = {"postgresql": "statement_timeout = 300", "mysql": "max_statement_time = 0.3"}
    add_entries(3)
    with connection.cursor() as cursor:
        cursor.execute(f"SET {limit[connection.vendor]}")
    try:
        with locked(ENTRIES, mode) as lock:
            lock.release_in(1)
            report = cleanup.run()
            assert not lock.held
        assert (report.outcome, report.removed) == ("succeeded", 3)
        assert "retry" not in [record.event for record in caplog.records]
    finally:
        connection.close()


def test_a_lock_that_stays_ends_a_run_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "LONGEST_LOCK", 0)
    add_entries(3)
    with locked(RUNS, MODES[0]), pytest.raises(OperationalError):
        cleanup.run()
    assert not CleanupRun.objects.exists()
    if connection.vendor != "sqlite":
        with locked(ENTRIES, MODES[0]):
            assert cleanup.run().outcome == "failed"
        assert CleanupRun.objects.get().outcome == "failed"
    assert cleanup.run().removed == 3


def test_a_run_that_can_not_record_that_it_stopped_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    add_entries(4)
    stop = threading.Event()
    locks = []

    def lock(_rows: Any) -> None:
        locks.append(Lock(RUNS, MODES[-1]))
        stop.set()

    try:
        report = cleanup.run(batch_size=2, stop=stop, progress=lock)
        assert locks[0].held
    finally:
        locks[0].release()
    assert (report.outcome, report.stopped, report.removed) == ("partial", "asked to stop", 2)
    assert report.error.startswith("OperationalError: ")
    assert caplog.records[-1].event == "cleanup_unrecorded"
    assert CleanupRun.objects.get().outcome == "running"
    assert cleanup.run().skipped == "running elsewhere"


@only_servers
def test_a_sign_of_life_that_fails_is_made_up_for(caplog: pytest.LogCaptureFixture) -> None:
    add_entries(6)
    locks = list[Lock]()

    def lock_for_a_batch(_rows: Any) -> None:
        if locks:
            locks[0].release()
        else:
            locks.append(Lock(RUNS, MODES[0]))

    now = clock.database_now("default")
    taken = lease.take(using="default", trigger="command", now=now)
    report = Work(
        taken,
        cutoff_at(now),
        limits=Limits(),
        batch_size=2,
        progress=lock_for_a_batch,
        heartbeat=0,
    ).run()
    assert (report.outcome, report.removed) == ("succeeded", 6)
    told = [record.event for record in caplog.records if record.levelno == logging.WARNING]
    assert set(told) == {"cleanup_unheard"}


def _statement_limit() -> str:
    """Return the variable of MariaDB, or of MySQL, that limits how long a statement may take."""
    if connection.vendor == "mysql" and not connection.mysql_is_mariadb:
        return "max_execution_time"
    return "max_statement_time"


def _patience() -> Any:
    asks = {
        "postgresql": "SELECT name, setting FROM pg_settings"
        " WHERE name IN ('lock_timeout', 'statement_timeout') ORDER BY name",
        "mysql": f"SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout, @@{_statement_limit()}",
        "sqlite": "PRAGMA busy_timeout",
    }
    with connection.cursor() as cursor:
        cursor.execute(asks[connection.vendor])
        return cursor.fetchall()


def test_the_callers_connection_is_as_patient_afterwards_as_before() -> None:
    own = {
        "postgresql": "SET lock_timeout = '7s'; SET statement_timeout = '77s'",
        "mysql": "SET lock_wait_timeout = 7, innodb_lock_wait_timeout = 8,"
        f" {_statement_limit()} = 77",
        "sqlite": "PRAGMA busy_timeout = 7777",
    }
    with connection.cursor() as cursor:
        cursor.execute(own[connection.vendor])
    try:
        before, between = _patience(), []
        add_entries(4)
        cleanup.run(batch_size=2, progress=lambda _rows: between.append(_patience()))
        cleanup.status()
        cleanup.preview()
        with transaction.atomic():
            cleanup.status()
            assert _patience() == before
        assert [*between, _patience()] == [before] * 3
    finally:
        connection.close()


# A size that the server refuses


def _refusal() -> OperationalError:
    """Return what the database raises that takes no transaction of this size."""
    if connection.vendor == "mysql":
        return OperationalError(1180, "Got error 90 'Message too long' during COMMIT")
    if connection.vendor == "sqlite":
        return OperationalError("too many SQL variables")
    error = OperationalError("out of memory")
    error.__cause__ = psycopg.errors.OutOfMemory()
    return error


@pytest.mark.parametrize("batch_size", [None, 800])
def test_a_size_that_was_refused_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, batch_size: int | None
) -> None:
    monkeypatch.setattr(retry, "WAITS", (0, 0, 0))
    add_entries(1500)
    add_sessions(600)
    asked = []

    def delete(rows: Any, cutoff: Any, *, limit: int, reached: Any) -> Any:
        asked.append(limit)
        if limit > 300:
            raise _refusal()
        return deleting.real(rows, cutoff, limit=limit, reached=reached)

    monkeypatch.setattr(batches, "delete", delete)
    report = cleanup.run(batch_size=batch_size, pause=0)
    assert (report.outcome, report.removed) == ("succeeded", 2100)
    assert [limit for limit in asked if limit > 300] == asked[:2]


def test_an_error_of_another_kind_makes_no_size_smaller_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "WAITS", (0, 0, 0))
    add_entries(30)
    asked = []

    def delete(rows: Any, cutoff: Any, *, limit: int, reached: Any) -> Any:
        asked.append(limit)
        if len(asked) == 1:
            raise OperationalError("deadlock")
        return deleting.real(rows, cutoff, limit=limit, reached=reached)

    monkeypatch.setattr(batches, "delete", delete)
    assert cleanup.run(batch_size=8, pause=0).removed == 30
    assert asked[:3] == [8, 4, 8]
