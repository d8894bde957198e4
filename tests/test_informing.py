"""What only informs decides no outcome: counts, progress, the log, receivers, signs of life."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command
from django.db import IntegrityError, OperationalError, connection, transaction
from django.dispatch import Signal
from django.test import Client

from tokens import cleanup, databases, signals
from tokens.cleanup import backlog, batches, pace, removal
from tokens.databases import Counted, OutOfTime
from tokens.management import shell
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

from .conftest import DAY, HOUR, Login
from .expiring import IN_A_WHILE, add_entries, add_run, add_sessions
from .locking import ENTRIES, MODES, RUNS, SESSIONS, locked
from .processes import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

only_servers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="readers of SQLite wait for nobody"
)

ENDLESS = {
    "postgresql": "SELECT pg_sleep(60)",
    "mysql": "SELECT SLEEP(60)",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    " SELECT max(i) FROM n",
}[connection.vendor]


def _endless() -> None:
    with connection.cursor() as cursor:
        cursor.execute(ENDLESS)
        cursor.fetchall()


def _too_slow(*_arguments: Any, **_options: Any) -> Any:
    raise OutOfTime("canceling statement due to statement timeout")


# Questions


@pytest.mark.parametrize("atomic", [False, True], ids=["", "in a transaction"])
def test_a_question_that_takes_too_long_has_no_answer_and_does_no_harm(atomic: bool) -> None:
    add_entries(1)
    questions = databases.questions("default", seconds=0.2)
    if atomic:
        with transaction.atomic():
            add_entries(1)
            assert questions.ask(_endless) is None
            add_entries(1)
    else:
        assert questions.ask(_endless) is None
    assert BlacklistEntry.objects.count() == (3 if atomic else 1)
    with pytest.raises(OutOfTime):
        questions.must_ask(BlacklistEntry.objects.count)  # all of its time is gone


def test_a_question_with_a_mistake_in_it_is_no_slow_one() -> None:
    questions = databases.questions("default", seconds=PATIENCE)
    with pytest.raises(ZeroDivisionError):
        questions.ask(lambda: 1 / 0)


@pytest.mark.parametrize(("limit", "told"), [(None, (3, False)), (3, (3, False)), (2, (2, True))])
def test_a_count_with_a_limit_says_whether_there_are_more(limit: Any, told: Any) -> None:
    add_entries(3)
    counted = databases.questions("default", seconds=PATIENCE).count(
        BlacklistEntry.objects.all(), limit=limit
    )
    assert counted == Counted(*told)


# The state, for --check, the health endpoint, the metrics and the admin


@only_servers
def test_the_state_is_told_while_somebody_has_locked_a_table() -> None:
    add_run(ago=26 * HOUR, outcome="partial")
    add_sessions(2)
    with locked(ENTRIES, MODES[-1]):
        status = cleanup.status()
    assert (status.backlog, status.backlog_at_least, status.oldest_expired) == (0, True, None)
    assert (status.last_outcome, status.overdue) == ("partial", True)


@pytest.mark.parametrize(
    ("run", "overdue"),
    [
        (None, False),
        ({"outcome": "partial"}, True),
        ({"outcome": "running", "slot": 1}, False),
        ({"outcome": "succeeded"}, False),
    ],
    ids=["never ran", "stopped early", "runs", "succeeded"],
)
def test_overdue_needs_no_oldest_row(
    monkeypatch: pytest.MonkeyPatch, run: Any, overdue: bool
) -> None:
    if run:
        add_run(ago=0 * HOUR, **run)
    monkeypatch.setattr(backlog, "oldest_expired", _too_slow)
    status = cleanup.status()
    assert (status.overdue, status.backlog, status.backlog_at_least) == (overdue, 0, True)


def test_a_check_says_what_it_could_not_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_run(ago=HOUR)
    add_entries(3)
    monkeypatch.setattr(backlog, "BACKLOG_LIMIT", 2)
    call_command("cleanup_tokens", check=True)
    assert "Waiting to be removed: more than 2\n" in capsys.readouterr().out
    monkeypatch.setattr(backlog, "oldest_expired", _too_slow)
    call_command("cleanup_tokens", check=True)
    assert "Waiting to be removed: unknown\nCounting them all takes" in capsys.readouterr().out


@only_servers
def test_a_check_under_a_lock_on_the_runs_does_not_ask_whether_the_database_runs() -> None:
    with locked(RUNS, MODES[-1]), pytest.raises(CommandError) as failed:
        call_command("cleanup_tokens", check=True)
    assert failed.value.returncode == 1
    assert "took too long" in str(failed.value)
    assert "migrated" not in str(failed.value)


@only_servers
def test_the_admin_lists_the_runs_while_their_state_can_not_be_told(
    staff: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokens.admin.state.status", _too_slow)
    client = staff("view_cleanuprun")
    assert client.get("/admin/tokens/cleanuprun/").status_code == 200


def test_the_health_endpoint_tells_a_lower_bound(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "oldest_expired", _too_slow)
    facts = client.get("/health/").json()["cleanup"]
    assert (facts["backlog"], facts["backlog_at_least"]) == (0, True)


def test_a_metric_that_could_not_be_counted_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    prometheus = pytest.importorskip("prometheus_client")
    from tokens.metrics import registry

    add_run(ago=HOUR)
    assert b"backlog_rows 0.0" in prometheus.generate_latest(registry())
    monkeypatch.setattr(backlog, "oldest_expired", _too_slow)
    shown = prometheus.generate_latest(registry())
    assert b"backlog_rows" not in shown
    assert b"database_up 1.0" in shown


# A dry run


def test_a_dry_run_without_the_time_to_count_says_more_than(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_entries(4)
    add_sessions(2)
    add_entries(4, ends=IN_A_WHILE)
    monkeypatch.setattr(backlog, "PREVIEW_SECONDS", 0)
    monkeypatch.setattr(backlog, "BACKLOG_LIMIT", 3)
    monkeypatch.setattr(backlog.preview, "__kwdefaults__", {"seconds": 0})
    call_command("cleanup_tokens", dry_run=True)
    said = capsys.readouterr().out
    assert "Would remove more than 3 expired entries and 2 expired sessions.\n" in said
    assert "Would keep more than 3 entries and 0 sessions.\n" in said
    preview = cleanup.preview(seconds=0)
    assert (preview.entries, preview.entries_expired_at_least) == ([], True)
    assert (preview.sessions_expired, preview.sessions_expired_at_least) == (2, False)


def test_counts_that_take_long_leave_time_for_the_oldest_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_entries(1)
    counted, slow = databases.Questions.count, [0.0]
    questions = sys.modules[databases.Questions.__module__]
    monkeypatch.setattr(questions, "monotonic", lambda: time.monotonic() + slow[0])

    def count_slowly(*arguments: Any, **options: Any) -> Any:
        slow[0] += backlog.PREVIEW_SECONDS + 1
        return counted(*arguments, **options)

    monkeypatch.setattr(databases.Questions, "count", count_slowly)
    assert cleanup.preview().oldest_expired is not None


@only_servers
def test_a_dry_run_under_a_lock_tells_what_it_can() -> None:
    add_entries(2)
    add_sessions(2)
    with locked(SESSIONS, MODES[-1]):
        preview = cleanup.preview(seconds=2)
    assert (preview.entries_expired, preview.entries_expired_at_least) == (2, False)
    assert (preview.sessions_expired, preview.sessions_expired_at_least) == (0, True)


# A run


@pytest.mark.parametrize("error", [OutOfTime("slow"), OperationalError("gone")])
def test_a_run_that_can_not_ask_what_it_leaves_was_stopped_and_did_not_fail(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    add_entries(2)

    def fail(*_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(removal, "oldest_expired", fail)
    report = cleanup.run(max_seconds=0)
    assert (report.outcome, report.stopped, report.error) == ("partial", "out of time", None)
    assert CleanupRun.objects.get().outcome == "partial"


def test_old_records_that_can_not_be_removed_are_no_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_run(ago=100 * DAY, outcome="failed")
    add_entries(2)

    def protected(*_arguments: Any, **_options: Any) -> None:
        raise IntegrityError("somebody points to it")

    monkeypatch.setattr(batches, "delete_runs", protected)
    report = cleanup.run()
    assert (report.outcome, report.removed, report.runs_removed) == ("succeeded", 2, 0)
    assert [record.event for record in caplog.records] == ["cleanup_untrimmed"]


def test_a_run_that_can_not_ask_for_others_is_gentle(monkeypatch: pytest.MonkeyPatch) -> None:
    others = pace.Others("default", ask_first=0, ask_every=0)
    others.are_busy()
    monkeypatch.setattr(type(databases.of(connection)), "others_at_work", _too_slow)
    assert others.are_busy()


@pytest.fixture
def broken_handlers() -> Iterator[None]:
    """Let each handler of a log raise, as one that writes to a database that is down."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OperationalError("the log can't be written")

    handler = Broken()
    loggers = [logging.getLogger(name) for name in ("tokens", "django.dispatch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_handler_of_the_log_that_raises_fails_no_run(
    broken_handlers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    add_entries(2)
    report = cleanup.run()
    assert (report.outcome, report.removed) == ("succeeded", 2)
    assert CleanupRun.objects.get().outcome == "succeeded"
    assert "the log can't be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "signal", [signals.cleanup_started, signals.cleanup_batch_finished, signals.cleanup_finished]
)
def test_a_receiver_that_raises_fails_no_run_even_if_that_can_not_be_logged(
    broken_handlers: None, signal: Signal
) -> None:
    add_entries(2)

    def receive(**_arguments: Any) -> None:
        raise RuntimeError

    signal.connect(receive)
    try:
        assert cleanup.run().outcome == "succeeded"
    finally:
        signal.disconnect(receive)


def test_what_raises_after_a_session_has_ended_does_not_change_the_answer(
    user: AbstractUser, broken_handlers: None, settings: Any, atomic_requests: None
) -> None:
    def receive(**_arguments: Any) -> None:
        list(TokenSession.objects.raw("SELECT * FROM there_is_no_such_table"))

    ours = (signals.session_ended, signals.refresh_reuse_detected)
    for signal in ours:
        signal.connect(receive)
    try:
        settings.TOKENS_ROTATION_GRACE = 0 * HOUR
        stolen, login, everywhere = Login(user), Login(user), Login(user)
        stolen.refresh()
        assert stolen.refresh().status_code == 401
        assert login.logout().status_code == 204
        answer = everywhere.api.post(
            "/api/logout/all/", HTTP_AUTHORIZATION=f"Bearer {everywhere.access}"
        )
        assert (answer.status_code, answer.json()) == (200, {"sessions_ended": 1})
    finally:
        for signal in ours:
            signal.disconnect(receive)
    assert everywhere.me().status_code == 401


# Commands


@pytest.mark.any_database
@pytest.mark.parametrize("method", ["__init__", "update", "close"])
def test_a_progress_bar_that_fails_stops_no_work(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bar:
        def __init__(self) -> None:
            self.called = 0
            self._maybe("__init__")

        def _maybe(self, name: str) -> None:
            self.called += 1
            if name == method:
                raise OSError(5, "Input/output error")

        def update(self, _rows: int) -> None:
            self._maybe("update")

        def close(self) -> None:
            self._maybe("close")

    bar = shell._Bar(Bar)
    bar.update(1)
    bar.update(1)
    bar.close()
    assert capsys.readouterr().err.count("[Errno 5]") == 1


@pytest.mark.any_database
def test_a_total_that_can_not_be_counted_is_none() -> None:
    assert shell._known(_too_slow) is None


def test_tokens_are_revoked_also_while_nobody_can_count_them(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login = Login(user)
    monkeypatch.setattr(type(databases.of(connection)), "asking", _too_slow)
    with pytest.raises(CommandError, match="took too long"):
        call_command("revoke_tokens", user=user.username, dry_run=True)
    with pytest.raises(CommandError, match="an unknown number of sessions of ada"):
        call_command("revoke_tokens", user=user.username)
    assert login.me().status_code == 200
    call_command("revoke_tokens", user=user.username, interactive=False)
    assert capsys.readouterr().out.startswith("Ended 1 session;")
    assert login.me().status_code == 401


def test_everybodys_tokens_are_revoked_also_while_nobody_can_count_them(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login = Login(user)
    monkeypatch.setattr(type(databases.of(connection)), "asking", _too_slow)
    with pytest.raises(CommandError, match="This ends all sessions"):
        call_command("revoke_tokens", all_users=True)
    call_command("revoke_tokens", all_users=True, interactive=False)
    assert capsys.readouterr().out.startswith("Ended 1 session;")
    assert login.me().status_code == 401
