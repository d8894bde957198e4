"""Real faults: a full disk, a database that goes away, a busy file, eight processes at once."""

import itertools
import multiprocessing
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from project.settings import BASE_DIR
from tests import deleting
from tests.deleting import replace_batches
from tokens import cleanup, clock, retry
from tokens.cleanup import work
from tokens.models import BlacklistEntry, CleanupRun
from tokens.signals import cleanup_failed

from .conftest import DAY
from .databases import THOROUGH
from .expiring import add_entries, add_run
from .processes import PATIENCE, environment

# One after the other: a database server lets no more than a hundred in.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("many at once"),
    pytest.mark.slow,
]

# It tries again as often as always, but at once.
CLEAN_UP_WITHOUT_WAITING = """
from django.core.management import execute_from_command_line
from tokens import retry
retry.WAITS = (0,) * len(retry.WAITS)
execute_from_command_line(
    ["manage.py", "cleanup_tokens", "--batch-size=3000", "--format=json"]
)
"""
PROCESSES = 8
ROUNDS = max(20 if THOROUGH else 6, int(os.environ.get("RACE_ROUNDS", "0")))

only_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="a fault of SQLite's file")
only_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="only PostgreSQL can be told to let nobody in"
)


# Many at once


def test_of_eight_processes_that_are_due_one_runs_each_round() -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(PROCESSES + 1, timeout=PATIENCE)
    answers = context.Queue()
    connections.close_all()
    children = [
        context.Process(target=_run_if_due, args=(barrier, answers)) for _ in range(PROCESSES)
    ]
    for child in children:
        child.start()
    try:
        for round_ in range(ROUNDS):
            _make_due(rows=7)
            barrier.wait()
            outcomes = sorted(answers.get(timeout=PATIENCE) for _ in children)
            done = [answer for answer in outcomes if answer[0] == "succeeded"]
            assert done == [("succeeded", 7)], (round_, outcomes)
            assert {answer[0] for answer in outcomes} <= {"succeeded", "skipped"}, outcomes
            assert CleanupRun.objects.count() == 2, "the success of yesterday, and one"
            connections.close_all()
    finally:
        for child in children:
            child.join(PATIENCE)
    assert [child.exitcode for child in children] == [0] * PROCESSES


def _make_due(*, rows: Any) -> None:
    CleanupRun.objects.all().delete()
    add_run(ago=2 * DAY)
    add_entries(rows)
    connections.close_all()


def _run_if_due(barrier: Any, answers: Any) -> None:
    for _ in range(ROUNDS):
        barrier.wait()
        try:
            report = cleanup.run(if_due=True, batch_size=3)
            answers.put((report.outcome, report.removed))
        except Exception as error:  # noqa: BLE001 (told to the test)
            answers.put((repr(error), 0))
        connections.close_all()


# A database that goes away


@only_postgresql
def test_a_database_that_goes_away_in_the_middle_is_a_failure_and_taken_over_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "WAITS", (0, 0))
    add_entries(6)

    def go_away(_rows: Any) -> None:
        _let_in(allowed=False)

    try:
        report = cleanup.run(batch_size=2, progress=go_away)
    finally:
        _let_in(allowed=True)
        connection.close()
    assert (report.outcome, report.removed) == ("failed", 2)
    assert "OperationalError: " in report.error
    assert BlacklistEntry.objects.count() == 4
    run = CleanupRun.objects.get()
    assert (run.outcome, cleanup.run().skipped) == ("running", "running elsewhere")
    CleanupRun.objects.update(heartbeat_at=clock.now() - DAY)
    assert cleanup.run().removed == 4
    run.refresh_from_db()
    assert (run.outcome, run.slot) == ("abandoned", None)


def _let_in(*, allowed: Any) -> None:
    name = connection.settings_dict["NAME"]
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS {allowed}')
        if not allowed:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )


# Faults of SQLite's file


@only_sqlite
def test_a_file_that_is_busy_for_a_while_delays_a_run_and_does_not_end_it() -> None:
    add_entries(5)
    locked, seconds = threading.Event(), 1.0

    def write_for_a_while() -> None:
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        locked.set()
        time.sleep(seconds)
        other.execute("COMMIT")
        other.close()

    def be_disturbed(_rows: Any) -> None:
        if not locked.is_set():
            # Less patient than the other is slow.
            connection.cursor().execute("PRAGMA busy_timeout = 10")
            thread.start()
            locked.wait(PATIENCE)

    thread = threading.Thread(target=write_for_a_while)
    try:
        report = cleanup.run(batch_size=2, progress=be_disturbed)
    finally:
        thread.join()
        connection.close()
    assert (report.outcome, report.removed) == ("succeeded", 5)
    assert report.seconds > seconds / 2


@only_sqlite
def test_a_disk_that_is_full_fails_the_run_which_says_so_and_the_next_goes_on(
    tmp_path: Path,
) -> None:
    """The limit on the size of files stands for the disk: SQLite can't lengthen its log."""
    add_entries(3000)
    connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    small = 60 * 4096
    child = partial(
        subprocess.run,
        [sys.executable, "-c", CLEAN_UP_WITHOUT_WAITING],
        cwd=BASE_DIR,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    full = child(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (small, small)))
    assert full.returncode == 1, full.stderr
    assert "The cleanup failed: OperationalError: " in full.stderr
    run = CleanupRun.objects.get()
    assert (run.outcome, run.slot) == ("failed", None)
    assert run.error.startswith("OperationalError: ")
    assert cleanup.status().last_success is None
    assert child().returncode == 0
    assert not BlacklistEntry.objects.exists()


# Other people's tables


@pytest.mark.any_database
def test_tables_that_point_to_ours_are_cared_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/pointing/cascades.py"],
        cwd=BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.pointing.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "2 passed" in done.stdout


# Clocks, settings and neighbours that go wrong


@only_postgresql
def test_rows_that_others_update_at_that_moment_do_not_end_a_run_early() -> None:
    """Their address changes between being found and being deleted."""
    add_entries(1500)
    busy = BlacklistEntry.objects.values_list("pk", flat=True)[:1000:10]
    stop = threading.Event()

    def update() -> None:
        for pk in itertools.cycle(list(busy)):
            BlacklistEntry.objects.filter(pk=pk).update(reason="logout")
            if stop.is_set():
                break
        connection.close()

    threads = [threading.Thread(target=update) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        report = cleanup.run(batch_size=100, pause=0)
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert report.outcome == "succeeded"
    assert report.removed >= 1400
    cleanup.run()
    assert not BlacklistEntry.objects.exists()


@pytest.mark.parametrize("ahead", [-DAY, DAY], ids=["silent for long", "from the future"])
def test_a_dead_run_is_taken_over_whatever_its_clock_said(ahead: Any) -> None:
    run = add_run(ago=-ahead, outcome="running", slot=1)
    assert cleanup.run().outcome == "succeeded"
    run.refresh_from_db()
    assert (run.outcome, run.slot) == ("abandoned", None)


def test_a_success_from_the_future_makes_nothing_due_and_nothing_overdue_for_ever() -> None:
    add_run(ago=-365 * DAY)
    yesterday = add_run(ago=2 * DAY)
    assert cleanup.status().last_success == yesterday.finished_at
    assert cleanup.status().overdue
    assert cleanup.run(if_due=True).outcome == "succeeded"
    assert cleanup.run(if_due=True).skipped == "not due"
    assert not cleanup.status().overdue


def test_a_setting_without_meaning_leaves_no_lease_behind(settings: Any) -> None:
    settings.TOKENS_CLEANUP_MARGIN = 300
    with pytest.raises(TypeError):
        cleanup.run()
    del settings.TOKENS_CLEANUP_MARGIN
    assert cleanup.run().outcome == "succeeded"


def test_an_error_after_taking_the_lease_gives_it_back() -> None:
    answers = iter([True])

    def due() -> Any:
        try:
            return next(answers)
        except StopIteration:
            raise OperationalError("gone") from None

    with pytest.raises(OperationalError):
        work.take("default", trigger="command", now=clock.now(), due=due)
    assert not CleanupRun.objects.exists()
    assert cleanup.run().outcome == "succeeded"


def test_a_run_that_can_not_even_begin_is_told_to_listeners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = []

    def down(using: Any) -> None:
        raise OperationalError("connection refused")

    def listen(report: Any, using: Any, **more: Any) -> None:
        heard.append((report.outcome, report.error, report.run_id, report.trigger, using))

    monkeypatch.setattr(clock, "database_now", down)
    cleanup_failed.connect(listen)
    try:
        with pytest.raises(OperationalError):
            cleanup.run(trigger="crontab")
    finally:
        cleanup_failed.disconnect(listen)
    assert heard == [("failed", "OperationalError: connection refused", None, "crontab", "default")]


def test_a_batch_size_that_is_given_comes_back_after_a_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "WAITS", (0, 0, 0))
    add_entries(30)
    limits, real = [], deleting.real

    def delete_batch(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> Any:
        limits.append(limit)
        if len(limits) <= 3:
            raise OperationalError("deadlock")
        return real(self, cutoff, limit=limit, reached=reached)

    replace_batches(monkeypatch, delete_batch)
    assert cleanup.run(batch_size=8, pause=0).removed == 30
    assert limits[:6] == [8, 4, 2, 1, 8, 8]
