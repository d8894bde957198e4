"""``cleanup_tokens --every``."""

import io
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from tests import deleting
from tests.deleting import replace_batches
from tokens import cleanup, retry
from tokens.models import BlacklistEntry, CleanupRun
from tokens.schedule import periodic

from .conftest import HOUR
from .expiring import add_entries, add_run
from .processes import PATIENCE, command, environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

STARTED = "Cleaning up every 2 hours. Stop with Ctrl-C.\n"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command until it has waited ``waits`` times; give exit code and output.

    ``meanwhile`` is called in each wait.
    """

    def run(*, waits: Any = 1, meanwhile: Any = lambda: None, **options: Any) -> Any:
        left = iter(range(waits - 1))

        def sleep(loop: Any, wait: Any) -> None:
            meanwhile()
            if next(left, None) is None:
                loop._stop.set()

        monkeypatch.setattr(periodic.Periodic, "_sleep", sleep)
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command(
                "cleanup_tokens", **{"every": "2h", "stdout": out, "stderr": err} | options
            )
        except CommandError as error:
            return error.returncode, out.getvalue(), f"{err.getvalue()}{error}"
        return 0, out.getvalue(), err.getvalue()

    return run


def fail_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first batch fail."""
    monkeypatch.setattr(retry, "WAITS", ())
    real, calls = deleting.real, []

    def delete_batch(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> Any:
        calls.append(limit)
        if len(calls) == 1:
            raise OperationalError("disk full")
        return real(self, cutoff, limit=limit, reached=reached)

    replace_batches(monkeypatch, delete_batch)


# What it does and says


@pytest.mark.any_database
def test_it_says_when_the_checks_will_expect_it_more_often(call: Any, settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = timedelta(hours=1)
    said = "TOKENS_CLEANUP_INTERVAL is 1 hour: --check will call this overdue.\n"
    assert call() == (0, "Nothing to remove.\n", STARTED + said)
    assert call(verbosity=0) == (0, "", "")


def test_it_says_what_it_does_and_runs_at_once_when_due(call: Any) -> None:
    add_entries(3)
    assert call() == (0, "Removed 3 expired entries and 0 expired sessions.\n", STARTED)
    assert CleanupRun.objects.get().trigger == "every"


def test_it_goes_by_its_own_interval(call: Any, settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = 24 * HOUR
    add_run(ago=2 * HOUR)
    assert call()[1] == "Nothing to remove.\n"


@pytest.mark.any_database
def test_that_nothing_is_due_is_said_once(call: Any) -> None:
    add_run(ago=HOUR)
    assert call(waits=3) == (0, "", STARTED + "Not due yet: nothing done.\n")
    assert call(waits=3, verbosity=2)[2].count("Not due yet") == 3


@pytest.mark.any_database
def test_it_is_silent_at_verbosity_0(call: Any) -> None:
    add_entries(1)
    assert call(verbosity=0) == (0, "", "")
    assert not BlacklistEntry.objects.exists()


def test_each_run_is_one_line_of_json(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add_entries(2)
    fail_once(monkeypatch)
    code, out, _ = call(waits=3, format="json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [answer["outcome"] for answer in answers] == ["failed", "succeeded"]
    assert [answer["removed"] for answer in answers] == [0, 2]


def test_the_other_options_hold_for_each_run(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add_entries(5)
    seen = []
    real = cleanup.run
    monkeypatch.setattr(cleanup, "run", lambda **options: seen.append(options) or real(**options))
    call(batch_size=2, pause=0.001, max_seconds=100, database="default", no_progress=True)
    [options] = seen
    assert (options["batch_size"], options["pause"], options["max_seconds"]) == (2, 0.001, 100)
    assert options["if_due"]
    assert options["using"] == "default"
    assert CleanupRun.objects.get().batches == 3


# Failing and stopping


def test_a_failed_run_is_said_by_the_log_alone_and_the_next_goes_on(
    call: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_entries(1)
    fail_once(monkeypatch)
    code, out, err = call(waits=2)
    assert (code, err) == (0, STARTED)
    assert out == "Removed 1 expired entry and 0 expired sessions.\n"
    said = "Scheduled token cleanup failed: OperationalError: disk full. Trying again in 1 minute."
    assert caplog.messages.count(said) == 1


def test_time_that_is_over_is_one_line_and_the_next_run_goes_on(call: Any) -> None:
    add_entries(1)
    code, out, err = call(max_seconds=1e-9)
    assert (code, out) == (0, "Removed nothing.\n")
    assert err == (
        f"{STARTED}Stopped early (out of time): rows are left, and the next run continues.\n"
    )


@pytest.mark.any_database
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_in_a_run_ends_it_after_its_batch_with_3(
    call: Any, monkeypatch: pytest.MonkeyPatch, number: Any
) -> None:
    add_entries(5)
    before = signal.getsignal(number)
    real = cleanup.run

    def run(*, stop: Any, **options: Any) -> Any:
        def interrupt(_rows: Any) -> None:
            signal.raise_signal(number)
            stop.wait(PATIENCE)

        return real(stop=stop, **options | {"progress": interrupt})

    monkeypatch.setattr(cleanup, "run", run)
    code, out, err = call(batch_size=2)
    assert (code, out) == (3, "Removed 2 expired entries and 0 expired sessions.\n")
    assert err == (
        f"{STARTED}Stopped early (asked to stop): rows are left, and the next run continues."
    )
    assert signal.getsignal(number) is before


# Wrong input


@pytest.mark.any_database
@pytest.mark.parametrize("value", ["90", "soon", "0s", "367d", "-5m", "", 90], ids=repr)
def test_a_wrong_interval_is_one_line_and_2(call: Any, value: Any) -> None:
    code, out, err = call(every=value)
    assert (code, out) == (2, "")
    assert err.startswith("--every: ")
    assert "\n" not in err


# As a process


@contextmanager
def process(*options: Any, **changes: Any) -> Iterator[Any]:
    """Start ``cleanup_tokens --every 1s``, and end it with the test."""
    child = subprocess.Popen(
        command("cleanup_tokens", "--every", "1s", *options),
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def succeeded() -> Any:
    return CleanupRun.objects.filter(outcome="succeeded").count()


@pytest.mark.any_database
@pytest.mark.slow
def test_a_process_runs_again_and_again_and_ends_with_0() -> None:
    add_entries(1)
    with process("--format=json") as child:
        wait_until(lambda: succeeded() >= 1)
        add_entries(2)
        wait_until(lambda: CleanupRun.objects.filter(entries_removed=2, slot=None).exists())
        child.terminate()
        out, err = child.communicate(timeout=PATIENCE)
    assert (child.returncode, err) == (0, "Cleaning up every second. Stop with Ctrl-C.\n")
    removed = [json.loads(line)["removed"] for line in out.splitlines()]
    assert [number for number in removed if number] == [1, 2]
    assert not CleanupRun.objects.exclude(slot=None).exists()


@pytest.mark.any_database
@pytest.mark.slow
def test_a_process_that_is_interrupted_in_a_run_ends_with_3() -> None:
    add_entries(6)
    with process("--batch-size=2", "--pause=3600") as child:
        wait_until(lambda: BlacklistEntry.objects.count() == 4)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 3
    assert out == "Removed 2 expired entries and 0 expired sessions.\n"
    assert err.splitlines()[1:] == [
        "CommandError: Stopped early (asked to stop): rows are left, and the next run continues."
    ]
    run = CleanupRun.objects.get()
    assert (run.outcome, run.slot) == ("partial", None)


@contextmanager
def table_away() -> Iterator[None]:
    """Rename the table of the runs meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tokens_cleanuprun RENAME TO tokens_cleanuprun_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE tokens_cleanuprun_away RENAME TO tokens_cleanuprun")


def test_a_broken_database_ends_nothing_and_it_goes_on_after_the_repair(
    call: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "WAITS", ())
    add_entries(1)
    with ExitStack() as away:
        away.enter_context(table_away())
        waits = iter([lambda: None, away.close, lambda: None])
        code, out, err = call(waits=3, meanwhile=lambda: next(waits)())
    assert (code, err) == (0, STARTED)
    assert out == "Removed 1 expired entry and 0 expired sessions.\n"
    failures = [one for one in caplog.messages if "Scheduled token cleanup failed: " in one]
    assert len(failures) == 2
    assert all("tokens_cleanuprun" in one for one in failures)


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.thorough
def test_a_process_survives_a_broken_database_says_so_and_goes_on_after_the_repair() -> None:
    add_entries(1)
    with process() as child:
        with table_away():
            lines = [child.stderr.readline() for _ in range(3)]
        wait_until(lambda: succeeded() >= 1)
        child.terminate()
        child.communicate(timeout=PATIENCE)
    assert lines[0] == "Cleaning up every second. Stop with Ctrl-C.\n"
    assert sum("ERROR tokens Scheduled token cleanup failed: " in line for line in lines) == 2
    assert "tokens_cleanuprun" in "".join(lines)
    assert "Traceback" not in "".join(lines)
    assert child.returncode == 0
    assert not BlacklistEntry.objects.exists()


@pytest.mark.slow
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="needs a database that is a file")
def test_a_process_waits_for_a_database_that_is_not_there_yet(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    url = f"sqlite:///{folder}/db.sqlite3"
    with process(DATABASE_URL=url) as child:
        lines = [child.stderr.readline() for _ in range(2)]
        with connection.cursor() as cursor:
            (tmp_path / "soon").mkdir()
            cursor.execute("VACUUM INTO %s", [f"{tmp_path}/soon/db.sqlite3"])
        (tmp_path / "soon").rename(folder)
        first = child.stdout.readline()
        child.terminate()
        child.communicate(timeout=PATIENCE)
    assert "unable to open database file. Trying again in 1 second." in lines[1]
    assert first == "Nothing to remove.\n"
    assert child.returncode == 0


def test_a_run_that_was_killed_is_taken_over_when_its_lease_is_over(call: Any) -> None:
    add_entries(1)
    killed = add_run(ago=HOUR / 60, outcome="running", slot=1)

    def let_its_lease_run_out() -> None:
        CleanupRun.objects.filter(pk=killed.pk).update(heartbeat_at=killed.started_at - HOUR)

    code, out, err = call(waits=2, meanwhile=let_its_lease_run_out)
    assert (code, out) == (0, "Removed 1 expired entry and 0 expired sessions.\n")
    assert "Another cleanup is running" in err
    assert CleanupRun.objects.get(pk=killed.pk).outcome == "abandoned"


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.thorough
def test_a_process_that_was_killed_in_a_run_is_taken_over() -> None:
    add_entries(6)
    with process("--batch-size=2", "--pause=3600") as child:
        wait_until(lambda: BlacklistEntry.objects.count() == 4)
        child.kill()
    with process() as child:
        wait_until(lambda: "Another cleanup is running" in child.stderr.readline())
        # As if its lease of ten minutes were over.
        CleanupRun.objects.update(heartbeat_at=CleanupRun.objects.get().started_at - HOUR)
        wait_until(lambda: succeeded() >= 1)
        child.terminate()
        child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
    assert not BlacklistEntry.objects.exists()
    assert CleanupRun.objects.earliest("pk").outcome == "abandoned"


@pytest.mark.any_database
@pytest.mark.slow
def test_a_process_whose_output_nobody_reads_any_more_ends_with_one_line() -> None:
    add_entries(1)
    with process() as child:
        assert child.stdout.readline().startswith("Removed 1 ")
        child.stdout.close()
        wait_until(lambda: child.poll() is not None)
        err = child.stderr.read()
    assert child.returncode == 1
    assert err == (
        "Cleaning up every second. Stop with Ctrl-C.\n"
        "CommandError: Output pipe was closed; stopping.\n"
    )
    assert not CleanupRun.objects.exclude(slot=None).exists()
