import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError
from django.db import OperationalError, connections

from tests.deleting import replace_batches
from tokens import cleanup, clock, retry
from tokens.management.commands import cleanup_tokens
from tokens.models import BlacklistEntry, CleanupRun

from . import calling
from .conftest import HOUR
from .expiring import IN_A_WHILE, add_entries, add_run, add_sessions
from .processes import PATIENCE, command, environment, manage, manage_in_turn, wait_until
from .streams import read_terminal

pytestmark = pytest.mark.django_db(transaction=True)


call = partial(calling.call, "cleanup_tokens")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that can't be deleted."""

    def fail(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> None:
        raise OperationalError("disk full")

    monkeypatch.setattr(retry, "WAITS", ())
    replace_batches(monkeypatch, fail)


# What it says


@pytest.mark.any_database
def test_it_says_what_it_removed() -> None:
    add_entries(1234)
    add_sessions(1)
    assert call() == (0, "Removed 1,234 expired entries and 1 expired session.\n", "")
    assert not BlacklistEntry.objects.exists()


def test_it_says_that_there_was_nothing_to_remove() -> None:
    assert call() == (0, "Nothing to remove.\n", "")


def test_it_is_silent_at_verbosity_0() -> None:
    add_entries(1)
    assert call(verbosity=0) == (0, "", "")
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
def test_it_says_more_at_verbosity_2_and_the_timings_at_3() -> None:
    add_entries(3)
    _, out, _ = call(verbosity=2, batch_size=2)
    assert "Batches: 2\n" in out
    assert "Order: entries index, sessions index\n" in out
    assert "Expired before: " in out
    assert "longest batch" not in out
    _, out, _ = call(verbosity=3)
    assert "longest batch" in out


@pytest.mark.any_database
def test_its_json_has_stable_keys() -> None:
    add_entries(2)
    code, out, err = call(format="json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert list(answer) == [
        "outcome",
        "skipped",
        "stopped",
        "entries_removed",
        "sessions_removed",
        "runs_removed",
        "batches",
        "longest_batch",
        "entries_order",
        "sessions_order",
        "seconds",
        "started_at",
        "cutoff",
        "error",
        "run_id",
        "trigger",
        "removed",
    ]
    assert (answer["outcome"], answer["removed"]) == ("succeeded", 2)
    assert answer["started_at"].endswith("Z")


# Dry run


def test_a_dry_run_says_what_would_go_and_writes_nothing(statements: Callable[[], Any]) -> None:
    add_entries(2)
    add_entries(1, scope="token", reason="rotated")
    add_entries(4, ends=IN_A_WHILE)
    add_sessions(1, ends=IN_A_WHILE)
    with statements() as ran:
        code, out, err = call(dry_run=True)
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == [
        "Would remove 3 expired entries and 0 expired sessions.",
        "  session, logout: 2",
        "  token, rotated: 1",
    ]
    assert "Would keep 4 entries and 1 session." in out
    assert {sql.split()[0] for sql in ran} == {"SELECT"}
    assert BlacklistEntry.objects.count() == 7
    assert not CleanupRun.objects.exists()


def test_a_dry_run_with_nothing_to_remove_says_so() -> None:
    assert call(dry_run=True)[1].startswith("There is nothing to remove.\n")


def test_a_dry_run_answers_json() -> None:
    add_entries(2)
    answer = json.loads(call(dry_run=True, format="json")[1])
    assert list(answer) == [
        "cutoff",
        "entries",
        "entries_expired",
        "entries_expired_at_least",
        "sessions_expired",
        "sessions_expired_at_least",
        "oldest_expired",
        "entries_kept",
        "entries_kept_at_least",
        "sessions_kept",
        "sessions_kept_at_least",
    ]
    assert answer["entries"] == [{"scope": "session", "reason": "logout", "count": 2}]


# Check


def test_a_check_after_a_success_passes_and_writes_nothing() -> None:
    add_run(ago=HOUR)
    code, out, err = call(check=True)
    assert (code, err) == (0, "")
    assert out.startswith("Last success: 20")
    assert "Waiting to be removed: 0\n" in out
    assert CleanupRun.objects.count() == 1


@pytest.mark.any_database
@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_check_fails_when_the_cleanup_is_overdue(verbosity: int) -> None:
    add_run(ago=26 * HOUR)
    add_entries(2)
    code, out, err = call(check=True, verbosity=verbosity)
    assert code == 1
    assert err.startswith("The cleanup is overdue: ")
    assert ("Waiting to be removed: 2\n" in out) == bool(verbosity)
    assert BlacklistEntry.objects.count() == 2


def test_a_check_of_a_new_installation_passes() -> None:
    code, out, _ = call(check=True)
    assert code == 0
    assert out.startswith("Last success: never\n")


def test_a_check_answers_json() -> None:
    code, out, _ = call(check=True, format="json")
    assert code == 0
    assert list(json.loads(out)) == [
        "last_success",
        "last_outcome",
        "last_started_at",
        "last_host",
        "last_error",
        "next_due",
        "overdue",
        "backlog",
        "backlog_at_least",
        "oldest_expired",
        "clock_difference",
        "crontab",
    ]


def test_a_check_warns_when_the_clocks_differ_by_more_than_half_the_margin(
    time_machine: Any,
) -> None:
    time_machine.move_to(clock.now() + timedelta(minutes=3))
    code, _, err = call(check=True)
    assert code == 0
    assert "more than half of TOKENS_CLEANUP_MARGIN (300 s)" in err


def test_runs_that_all_stop_early_are_overdue() -> None:
    add_run(ago=(3 * 24 + 1) * HOUR)
    for days in (2, 1, 0):
        add_run(ago=days * 24 * HOUR, outcome="partial")
    add_entries(1)
    assert call(check=True)[::2] == (1, "The cleanup is overdue: its last run stopped early.")


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("outcome", "ago", "cause"),
    [
        ("failed", HOUR, "its last run failed."),
        ("abandoned", HOUR, "its last run was abandoned: killed, or cut off from the database."),
        ("running", timedelta(minutes=1), "its last run is still running."),
        (
            "running",
            timedelta(minutes=11),
            "its last run was abandoned: killed, or cut off from the database.",
        ),
    ],
    ids=["failed", "abandoned", "at work", "killed"],
)
def test_an_overdue_cleanup_that_ran_is_not_asked_whether_it_is_scheduled(
    outcome: str, ago: Any, cause: str
) -> None:
    add_run(ago=48 * HOUR)
    add_run(ago=ago, outcome=outcome)
    assert call(check=True)[2] == f"The cleanup is overdue: {cause}"


def test_a_check_tells_of_a_last_run_that_failed_before_it_is_overdue() -> None:
    add_run(ago=HOUR)
    run = add_run(ago=timedelta(0), outcome="failed")
    CleanupRun.objects.filter(pk=run.pk).update(host="web-1", error="OperationalError: disk full")
    code, out, err = call(check=True)
    assert (code, err) == (0, "")
    began = f"{run.started_at:%Y-%m-%d %H:%M:%S}"
    assert f"\nLast run: failed, began {began} UTC on web-1: OperationalError: disk full\n" in out


@pytest.mark.any_database
@pytest.mark.parametrize("outcome", ["running", "partial", "failed", "abandoned"])
def test_a_check_and_the_admin_have_the_same_word_for_an_outcome(outcome: str) -> None:
    add_run(ago=HOUR)
    add_run(ago=timedelta(0), outcome=outcome)
    assert f"\nLast run: {CleanupRun.Outcome(outcome).label}, began " in call(check=True)[1]


@pytest.mark.any_database
def test_a_check_tells_of_a_last_run_that_succeeded_only_if_asked_for_more() -> None:
    add_run(ago=HOUR)
    assert "Last run" not in call(check=True)[1]
    assert "\nLast run: succeeded, began " in call(check=True, verbosity=2)[1]


def test_a_check_has_no_word_on_clocks_that_agree_where_there_is_no_margin(settings: Any) -> None:
    settings.TOKENS_CLEANUP_MARGIN = timedelta(0)
    assert call(check=True)[2] == ""


def test_moments_in_json_say_that_they_are_utc_without_time_zones_too(settings: Any) -> None:
    add_run(ago=HOUR)
    settings.USE_TZ = False
    facts = json.loads(call(check=True, format="json")[1])
    assert facts["last_success"].endswith("Z")
    assert facts["next_due"].endswith("Z")


# Nothing to do


def test_if_due_does_nothing_after_a_recent_success() -> None:
    add_run(ago=HOUR)
    add_entries(1)
    assert call(if_due=True) == (0, "Not due yet: nothing done.\n", "")
    assert BlacklistEntry.objects.exists()


def test_another_run_at_work_is_no_failure() -> None:
    add_run(ago=timedelta(0), outcome="running", slot=1)
    CleanupRun.objects.update(started_at="2026-11-23T19:07:03Z", host="web2")
    said = "Another cleanup is running: nothing done.\n"
    place = "It began 2026-11-23 19:07:03 UTC on web2.\n"
    assert call() == (0, said + place, "")
    with patch.object(cleanup, "at_work", side_effect=OperationalError("gone")):
        assert call() == (0, said, "")
    assert call(verbosity=0) == (0, "", "")
    assert json.loads(call(format="json")[1])["skipped"] == "running elsewhere"


# Failing and stopping


@pytest.mark.usefixtures("broken")
def test_a_failure_exits_with_1_and_says_why() -> None:
    add_entries(1)
    code, out, err = call(format="json")
    assert (code, err) == (1, "The cleanup failed: OperationalError: disk full")
    assert json.loads(out)["error"] == "OperationalError: disk full"


def test_time_that_is_over_exits_with_3_when_rows_are_left() -> None:
    add_entries(1)
    code, _, err = call(max_seconds=1e-9)
    assert code == 3
    assert err == "Stopped early (out of time): rows are left, and the next run continues."


def test_time_that_is_over_exits_with_0_when_nothing_is_left() -> None:
    assert call(max_seconds=1e-9)[0] == 0


@pytest.fixture
def usual() -> Iterator[Any]:
    """A handler for each signal; what was started in the background ignores some."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    yield signal.default_int_handler
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.any_database
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_stops_it_between_batches_and_the_handlers_come_back(
    monkeypatch: pytest.MonkeyPatch, usual: Any, number: str
) -> None:
    add_entries(5)
    number = signal.Signals[number]
    real = cleanup.run

    def run(*, stop: Any, **options: Any) -> Any:
        def interrupt(_rows: Any) -> None:
            signal.raise_signal(number)
            stop.wait(PATIENCE)

        return real(stop=stop, **options | {"progress": interrupt})

    monkeypatch.setattr(cleanup, "run", run)
    code, out, err = call(batch_size=2)
    assert code == 3
    assert out == "Removed 2 expired entries and 0 expired sessions.\n"
    assert err.startswith("Stopped early (asked to stop)")
    assert signal.getsignal(number) is usual


@pytest.mark.any_database
def test_a_hang_up_that_is_ignored_stays_ignored(usual: Any) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with cleanup_tokens._stopped_by_signals() as stop:
        signal.raise_signal(signal.SIGHUP)
    assert not stop.is_set()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.any_database
def test_a_second_interrupt_acts_as_always() -> None:
    # What a shell starts in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with cleanup_tokens._stopped_by_signals() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.wait(PATIENCE)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_works_in_a_thread_where_signals_are_nobodys_business() -> None:
    add_entries(1)
    codes = []

    def work() -> None:
        try:
            codes.append(call()[0])
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert codes == [0]


# Wrong input


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "--batch-size must be a whole number from 1 to 1,000,000, not '0'."),
        ({"batch_size": -5}, "--batch-size must be a whole number"),
        ({"batch_size": "2026-01-01"}, "not '2026-01-01'."),
        ({"batch_size": "1.5"}, "--batch-size must be a whole number"),
        ({"batch_size": float("inf")}, "--batch-size must be a whole number"),
        ({"batch_size": 10**30}, "--batch-size must be a whole number"),
        ({"pause": -1}, "--pause must be a number from 0 to 3,600, not '-1'."),
        ({"pause": "nan"}, "--pause must be a number"),
        ({"max_seconds": "soon"}, "--max-seconds must be a number"),
        ({"max_seconds": 0}, "--max-seconds must be a number above 0, at most 31,536,000, not '0'"),
        ({"database": "nowhere"}, "There is no database 'nowhere' in DATABASES, only: default."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_input_exits_with_2_and_changes_nothing(options: Any, message: str) -> None:
    add_entries(1)
    code, out, err = call(**options)
    assert (code, out) == (2, "")
    assert message in err
    assert "\n" not in err
    assert BlacklistEntry.objects.exists()
    assert not CleanupRun.objects.exists()


def test_numbers_may_come_as_text_or_as_numbers() -> None:
    add_entries(3)
    call(batch_size="2", pause="0", max_seconds="100")
    assert CleanupRun.objects.get().batches == 2


@pytest.mark.any_database
def test_the_trigger_is_for_python_only() -> None:
    call(trigger="admin")
    assert CleanupRun.objects.get().trigger == "admin"
    parser = cleanup_tokens.Command().create_parser("manage.py", "cleanup_tokens")
    with pytest.raises(CommandError, match="unrecognized arguments: --trigger"):
        parser.parse_args(["--trigger", "admin"])


# The progress bar


@pytest.mark.any_database
def test_the_bar_is_shown_on_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    add_entries(5)
    code, out, _ = call(batch_size=2, stderr=calling.Terminal())
    assert (code, out) == (0, "Removed 5 expired entries and 0 expired sessions.\n")
    assert "Removing" in capfd.readouterr().err


@pytest.mark.any_database
def test_without_tqdm_there_is_no_bar_and_everything_else_works(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    add_entries(5)
    terminal = calling.Terminal()
    code, out, err = call(batch_size=2, stderr=terminal)
    assert (code, out) == (0, "Removed 5 expired entries and 0 expired sessions.\n")
    assert (err, capfd.readouterr().err) == ("", "")


@pytest.mark.any_database
@pytest.mark.parametrize(
    "options",
    [{"no_progress": True}, {"verbosity": 0}, {"format": "json"}, {"stderr": io.StringIO()}],
    ids=["--no-progress", "-v 0", "--format json", "no terminal"],
)
def test_the_bar_is_not_shown_where_it_would_be_in_the_way(
    capfd: pytest.CaptureFixture[str], options: Any
) -> None:
    add_entries(5)
    call(**{"stderr": calling.Terminal()} | options)
    assert capfd.readouterr().err == ""


# As a process


@pytest.mark.any_database
@pytest.mark.slow
def test_a_process_removes_and_exits_with_0() -> None:
    add_entries(2)
    done = manage("cleanup_tokens")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Removed 2 expired entries and 0 expired sessions.\n"
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
@pytest.mark.slow
def test_the_command_line_answers_wrong_input_and_two_questions_at_once_with_2() -> None:
    wrong = [
        ("--batch-size", "-5"),
        ("--batch-size=2026-01-01",),
        ("--database", "x"),
        ("--every", "24"),
    ]
    both = [("--check", "--dry-run"), ("--every=24h", "--dry-run"), ("--every=24h", "--check")]
    answers = manage_in_turn(*(("cleanup_tokens", *options) for options in (*wrong, *both)))
    to_wrong, to_both = answers[: len(wrong)], answers[len(wrong) :]
    for code, out, err in to_wrong:
        assert (code, out, err.count("\n")) == (2, "", 1), err
    assert to_wrong[-1][2] == "CommandError: --every: '24' has no unit: is it 24s, 24m or 24h?\n"
    for (first, second), (code, out, err) in zip(both, to_both, strict=True):
        assert (code, out) == (2, "")
        assert f"{second}: not allowed with argument {first.partition('=')[0]}\n" in err
        assert "Traceback" not in err


QUESTIONS = [("cleanup_tokens", option) for option in ("-v1", "--check", "--dry-run", "--if-due")]
DOWN = [
    "sqlite:////no/such/directory/db.sqlite3",
    "postgres://postgres@127.0.0.1:1/nothing",
    "mysql://root@127.0.0.1:1/nothing",
]


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.parametrize(
    "url",
    [
        pytest.param(url, marks=pytest.mark.thorough if number else [], id=url.partition(":")[0])
        for number, url in enumerate(DOWN)
    ],
)
def test_the_command_line_answers_a_database_that_is_down_with_one_line_and_1(url: str) -> None:
    for code, out, err in manage_in_turn(*QUESTIONS, DATABASE_URL=url):
        assert (code, out) == (1, "")
        assert "The database 'default' can't be used (OperationalError: " in err
        assert err.count("\n") == 1


@pytest.mark.any_database
@pytest.mark.slow
def test_a_process_answers_a_database_that_is_down_with_one_line_and_1() -> None:
    done = manage("cleanup_tokens", DATABASE_URL=DOWN[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CommandError: The database 'default' can't be used (Oper")
    assert done.stderr.count("\n") == 1


@pytest.mark.any_database
@pytest.mark.slow
def test_the_command_line_answers_a_database_without_tables_with_one_line_and_1(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/empty.sqlite3"
    for code, out, err in manage_in_turn(*QUESTIONS, DATABASE_URL=url):
        assert (code, out) == (1, "")
        assert err.count("\n") == 1
        assert "migrated" in err


@pytest.fixture
def resting() -> Iterator[Any]:
    """A process that has removed two of six rows and rests."""
    add_entries(6)
    child = subprocess.Popen(
        command("cleanup_tokens", "--batch-size=2", "--pause=3600", "--format=json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        wait_until(lambda: BlacklistEntry.objects.count() == 4)
        yield child
        child.kill()


@pytest.mark.any_database
@pytest.mark.slow
def test_a_process_that_is_terminated_finishes_its_batch_and_exits_with_3(resting: Any) -> None:
    resting.terminate()
    out, err = resting.communicate(timeout=PATIENCE)
    assert resting.returncode == 3
    assert json.loads(out)["entries_removed"] == 2
    assert err.count("\n") == 1
    run = CleanupRun.objects.get()
    assert (run.outcome, run.slot, run.entries_removed) == ("partial", None, 2)
    assert cleanup.run().removed == 4


@pytest.mark.slow
def test_a_process_that_is_killed_keeps_what_it_did_and_is_taken_over(resting: Any) -> None:
    resting.kill()
    resting.wait(PATIENCE)
    assert BlacklistEntry.objects.count() == 4
    assert cleanup.run().skipped == "running elsewhere"
    CleanupRun.objects.update(heartbeat_at=clock.now() - HOUR)
    assert cleanup.run().removed == 4
    assert list(CleanupRun.objects.order_by("pk").values_list("outcome", flat=True)) == [
        "abandoned",
        "succeeded",
    ]


@pytest.mark.any_database
@pytest.mark.slow
def test_a_process_on_a_terminal_shows_the_bar_there_and_the_result_on_standard_output() -> None:
    add_entries(5)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # The bar of a terminal without a width is empty.
    done = subprocess.run(
        command("cleanup_tokens"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=PATIENCE,
        check=False,
    )
    os.close(theirs)
    shown = read_terminal(ours)
    assert done.returncode == 0
    assert done.stdout == b"Removed 5 expired entries and 0 expired sessions.\n"
    assert "Removing" in shown
