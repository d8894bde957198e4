import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, User
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    transaction,
)

from tests import deleting
from tests.deleting import replace_batches
from tokens import cleanup, clock
from tokens.cleanup import backlog, lease
from tokens.cleanup.backlog import cutoff_at
from tokens.cleanup.limits import Limits
from tokens.cleanup.work import Work, take
from tokens.databases import Batch
from tokens.models import BlacklistEntry, CleanupRun, TokenSession
from tokens.querysets import RunQuerySet
from tokens.signals import cleanup_failed, cleanup_finished

from .conftest import DAY, HOUR, MINUTE
from .expiring import IN_A_WHILE, LONG_AGO, add_entries, add_run, add_sessions
from .processes import PATIENCE

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_waiting"),
]


def clean_up(
    *,
    monotonic: Callable[[], float] = time.monotonic,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
    **options: Any,
) -> cleanup.CleanupReport:
    """Run with another clock, or other heartbeats, than ``cleanup.run`` has."""
    now = clock.database_now("default")
    taken = lease.take(using="default", trigger="command", now=now)
    assert taken
    limits = Limits(monotonic=monotonic, max_seconds=max_seconds, stop=stop)
    return Work(taken, cutoff_at(now), limits=limits, **options).run()


@contextmanager
def failing_batches(monkeypatch: pytest.MonkeyPatch, error: Any, *, times: Any) -> Iterator[Any]:
    """Let the next ``times`` deletions of entries fail; gives the limits that were asked for."""
    limits = []
    real = deleting.real

    def delete_batch(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> Any:
        limits.append(limit)
        if len(limits) <= times:
            raise error
        return real(self, cutoff, limit=limit, reached=reached)

    with monkeypatch.context() as patch:
        replace_batches(patch, delete_batch)
        yield limits


# What goes and what stays


def test_expired_entries_and_sessions_go_and_live_ones_stay() -> None:
    add_entries(5)
    add_entries(2, ends=IN_A_WHILE)
    add_sessions(3)
    add_sessions(1, ends=IN_A_WHILE)
    report = cleanup.run()
    assert report.outcome == "succeeded"
    assert (report.entries_removed, report.sessions_removed, report.removed) == (5, 3, 8)
    assert BlacklistEntry.objects.count() == 2
    assert TokenSession.objects.count() == 1


def test_a_run_with_nothing_to_do_succeeds() -> None:
    report = cleanup.run()
    assert (report.outcome, report.removed, report.batches) == ("succeeded", 0, 0)
    assert CleanupRun.objects.get().outcome == "succeeded"


@pytest.mark.parametrize(
    "override",
    [
        {"SIMPLE_JWT": {"LEEWAY": HOUR}},
        {"SIMPLE_JWT": {"LEEWAY": 3600}},
        {"TOKENS_CLEANUP_MARGIN": HOUR},
        {"TOKENS_RETENTION": HOUR},
    ],
    ids=["leeway", "leeway in seconds", "margin", "retention"],
)
def test_what_expired_stays_for_the_leeway_the_margin_and_the_retention(
    settings: Any, override: Any
) -> None:
    settings.TOKENS_CLEANUP_MARGIN = timedelta(0)
    for name, value in override.items():
        setattr(settings, name, value)
    add_entries(1, ends=-HOUR + MINUTE, subject="stays")
    add_entries(1, ends=-HOUR - MINUTE, subject="goes")
    assert cleanup.run().entries_removed == 1
    assert BlacklistEntry.objects.get().subject == "stays"


def test_the_cutoff_adds_all_three_and_goes_by_the_clock_of_the_database(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SIMPLE_JWT = {"LEEWAY": 7}
    settings.TOKENS_CLEANUP_MARGIN = timedelta(seconds=20)
    settings.TOKENS_RETENTION = timedelta(seconds=300)
    moment = clock.now() - DAY
    monkeypatch.setattr(clock, "database_now", lambda using: moment)
    assert cleanup.preview().cutoff == moment - timedelta(seconds=327)


def test_a_host_whose_clock_is_years_ahead_removes_nothing_too_early(time_machine: Any) -> None:
    add_entries(1, ends=IN_A_WHILE)
    time_machine.move_to(clock.now() + timedelta(days=1000))
    assert cleanup.run().removed == 0


def test_old_runs_go_but_never_the_newest_success_nor_the_running_one() -> None:
    add_run(ago=300 * DAY)
    newest = add_run(ago=200 * DAY)
    add_run(ago=190 * DAY, outcome="failed")
    recent = add_run(ago=89 * DAY, outcome="failed")
    # The new run fails at the end, so that it is no newer success.
    with pytest.raises(ZeroDivisionError):
        cleanup.run(progress=lambda _rows: 1 / 0)
    run = CleanupRun.objects.latest("pk")
    assert run.runs_removed == 2
    assert set(CleanupRun.objects.values_list("pk", flat=True)) == {newest.pk, recent.pk, run.pk}


def test_old_runs_go_in_batches_too() -> None:
    for _ in range(5):
        add_run(ago=200 * DAY, outcome="failed")
    report = cleanup.run(batch_size=2)
    assert (report.runs_removed, report.batches) == (5, 3)


# Batches


def test_rows_that_expire_together_do_not_make_a_batch_larger() -> None:
    add_entries(25)
    batches = []
    report = cleanup.run(batch_size=10, progress=batches.append)
    assert batches == [10, 10, 5]
    assert report.batches == 3


def test_the_size_adapts_to_the_time_that_a_batch_takes(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOKENS_CLEANUP_BATCH_SECONDS = 0.1
    now, limits = [0.0], []
    seconds_a_row = iter([0.00001] * 4 + [0.0001] * 4)

    def delete_batch(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> Any:
        limits.append(limit)
        now[0] += limit * next(seconds_a_row, 0)
        return Batch(limit, more=len(limits) < 8)

    replace_batches(monkeypatch, delete_batch)
    report = clean_up(monotonic=lambda: now[0], pause=0)  # whatever others do
    assert limits == [1000, 2000, 4000, 7500, 7500, 3750, 1875, 937]
    assert report.longest_batch == pytest.approx(0.75)


def test_a_given_size_does_not_adapt(monkeypatch: pytest.MonkeyPatch) -> None:
    add_entries(8)
    with failing_batches(monkeypatch, None, times=0) as limits:
        cleanup.run(batch_size=3)
    assert limits == [3, 3, 3]


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_has_a_row_at_least(size: Any) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        cleanup.run(batch_size=size)
    assert not CleanupRun.objects.exists()


def test_it_rests_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    add_entries(5)
    stop = threading.Event()
    rests = []
    now = [0.0]

    def wait(seconds: Any) -> None:
        rests.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(stop, "wait", wait)
    assert clean_up(monotonic=lambda: now[0], batch_size=2, pause=7, stop=stop).removed == 5
    assert rests == [5, 2, 5, 2]


def test_it_refuses_to_run_inside_of_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        cleanup.run()


# One at a time


def test_of_two_runs_at_once_one_works_and_the_other_goes_away() -> None:
    add_entries(4)
    working, done = threading.Event(), threading.Event()
    reports = []

    def hold(_rows: Any) -> None:
        working.set()
        done.wait(PATIENCE)

    def work() -> None:
        try:
            reports.append(cleanup.run(batch_size=2, progress=hold))
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert working.wait(PATIENCE)
    second = cleanup.run()
    done.set()
    thread.join(PATIENCE)
    assert (second.outcome, second.skipped, second.removed) == ("skipped", "running elsewhere", 0)
    assert [(r.outcome, r.removed) for r in reports] == [("succeeded", 4)]
    assert CleanupRun.objects.count() == 1


def test_of_many_that_start_together_each_row_is_removed_by_one() -> None:
    add_entries(40)
    barrier = threading.Barrier(8)
    reports = []

    def work() -> None:
        try:
            barrier.wait(PATIENCE)
            reports.append(cleanup.run(if_due=True, batch_size=5))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(r.outcome for r in reports) == ["skipped"] * 7 + ["succeeded"]
    assert sum(r.removed for r in reports) == 40
    assert CleanupRun.objects.count() == 1


def test_a_run_whose_process_died_is_taken_over() -> None:
    add_entries(3)
    dead = add_run(ago=CleanupRun.LEASE + MINUTE, outcome="running", slot=1)
    report = cleanup.run()
    assert (report.outcome, report.removed) == ("succeeded", 3)
    dead.refresh_from_db()
    assert (dead.outcome, dead.slot) == ("abandoned", None)


def test_a_run_that_was_heard_of_lately_is_left_alone() -> None:
    alive = add_run(ago=CleanupRun.LEASE - MINUTE, outcome="running", slot=1)
    assert cleanup.run().skipped == "running elsewhere"
    alive.refresh_from_db()
    assert (alive.outcome, alive.slot) == ("running", 1)


def test_a_dead_run_that_revives_while_it_is_taken_over_keeps_its_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = add_run(ago=CleanupRun.LEASE + MINUTE, outcome="running", slot=1)
    stale = CleanupRun.objects.get()
    run.heartbeat_at = clock.now()
    run.save()
    monkeypatch.setattr(RunQuerySet, "first", lambda self: stale)
    assert cleanup.run().skipped == "running elsewhere"
    run.refresh_from_db()
    assert run.outcome == "running"


def test_a_run_that_lost_its_lease_stops() -> None:
    add_entries(10)
    seen = []

    def usurp(rows: Any) -> None:
        seen.append(rows)
        CleanupRun.objects.update(slot=None, outcome="abandoned")

    report = clean_up(batch_size=2, progress=usurp, heartbeat=0)
    assert seen == [2]
    assert (report.outcome, report.stopped, report.removed) == ("partial", "lease lost", 2)
    run = CleanupRun.objects.get()
    assert (run.outcome, run.entries_removed, run.slot) == ("abandoned", 2, None)


def test_a_lease_that_was_lost_in_the_last_moment_is_no_success() -> None:
    add_entries(1)
    report = cleanup.run(
        progress=lambda rows: CleanupRun.objects.update(slot=None, outcome="abandoned")
    )
    assert (report.outcome, report.stopped) == ("partial", "lease lost")
    assert CleanupRun.objects.get().outcome == "abandoned"


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function after which one commit is done, and its answer lost."""
    commit = connection.commit

    def commit_unheard() -> None:
        commit()
        monkeypatch.setattr(connection, "commit", commit)
        raise OperationalError("server closed the connection")

    return lambda: monkeypatch.setattr(connection, "commit", commit_unheard)


def test_a_first_commit_whose_answer_is_lost_is_no_run_of_somebody_else(unheard: Any) -> None:
    add_entries(1)
    unheard()
    report = cleanup.run()
    assert (report.outcome, report.skipped, report.removed) == ("succeeded", None, 1)
    assert CleanupRun.objects.get().outcome == "succeeded"


def test_a_last_commit_whose_answer_is_lost_is_no_lost_lease(
    monkeypatch: pytest.MonkeyPatch, unheard: Any
) -> None:
    add_entries(1)
    release = lease.Lease.release

    def release_unheard(self: Any, outcome: Any, **fields: Any) -> Any:
        unheard()
        return release(self, outcome, **fields)

    monkeypatch.setattr(lease.Lease, "release", release_unheard)
    report = cleanup.run()
    assert (report.outcome, report.stopped, report.removed) == ("succeeded", None, 1)
    assert CleanupRun.objects.get().outcome == "succeeded"


def test_a_run_under_way_shows_what_it_has_done() -> None:
    add_entries(4)
    seen = []

    def look(_rows: Any) -> None:
        seen.append(CleanupRun.objects.values_list("entries_removed", "batches", "outcome").get())

    clean_up(batch_size=2, progress=look, heartbeat=0)
    assert seen == [(0, 0, "running"), (2, 1, "running")]


def test_a_row_that_nobody_can_insert_is_no_skipped_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(row: Any, using: Any) -> None:
        raise IntegrityError("duplicate key of something else")

    monkeypatch.setattr(lease, "_insert", refuse)
    with pytest.raises(IntegrityError):
        cleanup.run()


# When it is due


def test_if_due_runs_when_it_never_succeeded() -> None:
    add_run(ago=MINUTE, outcome="failed")
    add_run(ago=MINUTE, outcome="partial")
    assert cleanup.run(if_due=True).outcome == "succeeded"


@pytest.mark.parametrize(
    ("ago", "skipped"),
    [(HOUR, "not due"), (25 * HOUR, None), (-DAY, None)],
    ids=["young", "old", "in the future"],
)
def test_if_due_goes_by_the_last_success(settings: Any, ago: Any, skipped: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = DAY
    add_run(ago=ago)
    add_entries(1)
    report = cleanup.run(if_due=True)
    assert report.skipped == skipped
    assert CleanupRun.objects.count() == (1 if skipped else 2)
    assert BlacklistEntry.objects.count() == (1 if skipped else 0)


def test_an_interval_takes_the_place_of_the_setting_for_one_run(settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = DAY
    add_run(ago=HOUR)
    assert cleanup.run(if_due=True, interval=2 * HOUR).skipped == "not due"
    assert cleanup.run(if_due=True, interval=HOUR).outcome == "succeeded"
    assert cleanup.run(if_due=True, interval=HOUR).skipped == "not due"


def test_without_if_due_the_last_success_does_not_matter() -> None:
    add_run(ago=MINUTE)
    assert cleanup.run().outcome == "succeeded"


def test_if_due_gives_the_lease_back_when_another_run_was_faster() -> None:
    answers = iter([True, False])
    taken = take("default", trigger="command", now=clock.now(), due=lambda: next(answers))
    assert taken == "not due"
    assert not CleanupRun.objects.exists()


# Stopping early


def test_it_stops_between_batches_when_asked_and_the_next_run_goes_on() -> None:
    add_entries(5)
    stop = threading.Event()
    report = cleanup.run(batch_size=2, stop=stop, progress=lambda rows: stop.set())
    assert (report.outcome, report.stopped, report.removed) == ("partial", "asked to stop", 2)
    assert CleanupRun.objects.get().outcome == "partial"
    assert cleanup.run().removed == 3


def test_being_stopped_when_nothing_is_left_is_a_success() -> None:
    add_entries(2)
    stop = threading.Event()
    report = cleanup.run(stop=stop, progress=lambda rows: stop.set())
    assert (report.outcome, report.stopped) == ("succeeded", None)


def test_sessions_that_are_left_count_too() -> None:
    add_entries(1)
    add_sessions(1)
    stop = threading.Event()
    assert cleanup.run(stop=stop, progress=lambda rows: stop.set()).outcome == "partial"


def test_it_stops_when_its_time_is_over() -> None:
    add_entries(10)
    now = [0.0]

    def pass_time(_rows: Any) -> None:
        now[0] += 4

    report = clean_up(monotonic=lambda: now[0], batch_size=2, max_seconds=10, progress=pass_time)
    assert (report.outcome, report.stopped, report.removed) == ("partial", "out of time", 6)


# Failing


def test_a_batch_that_fails_is_tried_again_with_fewer_rows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_entries(9)
    with failing_batches(monkeypatch, OperationalError("deadlock"), times=2) as limits:
        report = cleanup.run(batch_size=8)
    assert (report.outcome, report.removed) == ("succeeded", 9)
    assert limits[:3] == [8, 4, 2]
    assert "OperationalError: deadlock; trying again" in caplog.text


def test_a_batch_that_keeps_failing_is_recorded_and_the_next_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_entries(3)
    error = OperationalError("deadlock\nDETAIL: row of somebody")
    with failing_batches(monkeypatch, error, times=99) as limits:
        report = cleanup.run()
    assert len(limits) == 4
    assert (report.outcome, report.error) == ("failed", "OperationalError: deadlock")
    run = CleanupRun.objects.get()
    assert (run.outcome, run.error, run.slot) == ("failed", "OperationalError: deadlock", None)
    assert run.finished_at is not None
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.name == "tokens"
    assert record.exc_info[1] is error
    assert cleanup.run().removed == 3


def test_what_was_done_before_a_failure_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    add_entries(2)
    add_sessions(2)

    def fail(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> None:
        raise DatabaseError("broken index")

    replace_batches(monkeypatch, fail, model=TokenSession)
    report = cleanup.run()
    assert (report.outcome, report.entries_removed) == ("failed", 2)
    assert CleanupRun.objects.get().entries_removed == 2
    assert not BlacklistEntry.objects.exists()


def test_a_mistake_in_the_program_is_recorded_and_raised() -> None:
    add_entries(1)

    def stumble(_rows: Any) -> None:
        raise KeyError("nobody")

    with pytest.raises(KeyError):
        cleanup.run(progress=stumble)
    run = CleanupRun.objects.get()
    assert (run.outcome, run.error, run.slot) == ("failed", "KeyError: 'nobody'", None)
    assert run.entries_removed == 1


def test_a_database_that_is_down_is_not_reported_but_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down(using: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(clock, "database_now", down)
    with pytest.raises(OperationalError):
        cleanup.run()


def test_a_failure_that_can_not_be_recorded_is_logged_and_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_entries(1)

    def go_down(_rows: Any) -> None:
        monkeypatch.setattr(lease.Lease, "_held", lambda self: 1 / 0)
        raise OperationalError("server closed the connection")

    with pytest.raises(ZeroDivisionError):
        cleanup.run(progress=go_down)
    assert "server closed the connection" in caplog.text


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no connection to lose")
def test_a_connection_that_is_cut_is_made_again() -> None:
    add_entries(6)
    cut = []

    def cut_once(_rows: Any) -> None:
        if not cut:
            cut.append(_kill_connection())

    report = cleanup.run(batch_size=2, progress=cut_once)
    assert (report.outcome, report.removed) == ("succeeded", 6)


def _kill_connection() -> Any:
    asks, kills = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
        "mysql": ("SELECT CONNECTION_ID()", "KILL %s"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(asks)
        [number] = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(kills, [number])
    other.close()
    return number


# What others get to know


def test_it_says_when_it_starts_and_what_it_did(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tokens")
    add_entries(2)
    cleanup.run()
    assert [record.getMessage() for record in caplog.records] == [
        "Running scheduled token cleanup...",
        "Scheduled cleanup completed: removed 2 expired token(s)",
    ]
    assert caplog.records[1].event == "cleanup_finished"
    assert caplog.records[1].entries_removed == 2


def test_it_records_who_started_it_and_where() -> None:
    cleanup.run(trigger="lifespan")
    run = CleanupRun.objects.get()
    assert run.trigger == "lifespan"
    assert run.host
    assert run.finished_at >= run.started_at


def test_listeners_hear_of_success_and_failure_and_can_not_break_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = []

    def listen(signal: Any, report: Any, using: Any, **kwargs: Any) -> None:
        heard.append((signal is cleanup_finished, report.outcome, using))
        raise ValueError

    cleanup_finished.connect(listen)
    cleanup_failed.connect(listen)
    try:
        cleanup.run()
        with failing_batches(monkeypatch, OperationalError("no"), times=99):
            cleanup.run()
    finally:
        cleanup_finished.disconnect(listen)
        cleanup_failed.disconnect(listen)
    assert heard == [(True, "succeeded", "default"), (False, "failed", "default")]


def test_a_user_that_is_gone_keeps_nobody_from_cleaning_up(user: AbstractUser) -> None:
    add_entries(1, user_id=user.pk)
    User.objects.all().delete()
    assert cleanup.run().removed == 1


# Questions


def test_a_preview_counts_what_would_go_and_what_would_stay(statements: Callable[[], Any]) -> None:
    add_entries(2)
    add_entries(1, scope="token", reason="rotated", ends=LONG_AGO - DAY)
    add_entries(4, ends=IN_A_WHILE)
    add_sessions(3)
    add_sessions(1, ends=IN_A_WHILE)
    with statements() as ran:
        preview = cleanup.preview()
    assert [(g.scope, g.reason, g.count) for g in preview.entries] == [
        ("session", "logout", 2),
        ("token", "rotated", 1),
    ]
    assert (preview.entries_expired, preview.sessions_expired, preview.expired) == (3, 3, 6)
    assert (preview.entries_kept, preview.sessions_kept) == (4, 1)
    assert preview.oldest_expired == BlacklistEntry.objects.get(scope="token").expires_at
    assert {sql.split()[0] for sql in ran} == {"SELECT"}


def test_a_preview_promises_what_a_run_does() -> None:
    add_entries(7)
    add_sessions(2)
    preview = cleanup.preview()
    assert preview.expired == cleanup.run().removed
    assert cleanup.preview().expired == 0


def test_an_installation_that_never_had_anything_to_do_is_not_overdue() -> None:
    status = cleanup.status()
    assert (status.last_success, status.last_outcome, status.oldest_expired) == (None, None, None)
    assert (status.overdue, status.backlog) == (False, 0)


@pytest.mark.parametrize(
    ("waiting", "overdue"), [(30 * MINUTE, False), (2 * HOUR, True)], ids=["a bit", "long"]
)
def test_where_it_never_succeeded_a_row_that_waits_longer_than_a_tick_is_overdue(
    waiting: Any, overdue: bool
) -> None:
    add_run(ago=MINUTE, outcome="failed")
    add_entries(1, ends=-waiting)
    status = cleanup.status()
    assert (status.overdue, status.backlog, status.last_outcome) == (overdue, 1, "failed")


@pytest.mark.parametrize(
    ("ago", "overdue"),
    [(23 * HOUR, False), (24.5 * HOUR, False), (26 * HOUR, True)],
    ids=["young", "within the tick", "old"],
)
def test_it_is_overdue_an_interval_and_a_tick_after_the_last_success(
    settings: Any, ago: Any, overdue: bool
) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = DAY
    run = add_run(ago=ago)
    status = cleanup.status()
    assert status.overdue is overdue
    assert status.last_success == run.finished_at
    assert status.next_due == run.finished_at + DAY


@pytest.mark.parametrize(("limit", "told"), [(11, (11, True)), (12, (12, False))])
def test_counting_the_backlog_has_an_end(
    statements: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, limit: int, told: Any
) -> None:
    add_entries(3)
    add_sessions(9)
    monkeypatch.setattr(backlog, "BACKLOG_LIMIT", limit)
    with statements() as ran:
        status = cleanup.status()
    assert (status.backlog, status.backlog_at_least) == told
    assert sum(sql.count(f"LIMIT {limit + 1}") for sql in ran) == 2


def test_counting_does_not_read_the_rows_themselves(statements: Callable[[], Any]) -> None:
    add_entries(2)
    with statements() as ran:
        cleanup.status()
    [count] = [sql for sql in ran if "COUNT(*) FROM" in sql and "blacklistentry" in sql]
    assert "key" not in count
    assert "expires_at" in count


def test_asking_for_the_status_costs_the_same_however_many_runs_and_rows(
    statements: Callable[[], Any],
) -> None:
    def cost() -> Any:
        with statements() as ran:
            assert cleanup.status().overdue
        assert {sql.split()[0] for sql in ran} == {"SELECT"}
        return len(ran)

    add_run(ago=6 * DAY)
    add_entries(1)
    few = cost()
    for _ in range(40):
        add_run(ago=2 * HOUR, outcome="partial")
    add_entries(200)
    assert cost() == few == 5


def test_the_status_knows_nothing_but_success() -> None:
    """Runs that all stop early leave more and more: that is overdue, whatever they removed."""
    for days in (4, 3, 2, 1, 0):
        add_run(ago=days * DAY, outcome="succeeded" if days == 4 else "partial")
    assert cleanup.status().overdue
    assert cleanup.status().last_outcome == "partial"


def test_the_status_says_how_far_the_clocks_differ(time_machine: Any) -> None:
    time_machine.move_to(clock.now() + HOUR)
    assert cleanup.status().clock_difference == pytest.approx(3600, abs=60)
