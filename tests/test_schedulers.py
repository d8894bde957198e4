"""The schedulers run the snippets of their pages, with only the time shortened.

cron's turn comes in ``test_crontab``, which waits for the daemon anyway.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection

from project.settings import BASE_DIR
from tokens import cleanup
from tokens.models import BlacklistEntry, CleanupRun
from tokens.schedule import celery as for_celery
from tokens.schedule import task

from .expiring import add_entries, add_run
from .processes import PATIENCE, command, environment, wait_until
from .snippets import snippet

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

NOWHERE = "sqlite:////no/such/directory/db.sqlite3"
ANSWER = {"outcome": "succeeded", "skipped": None, "stopped": None, "removed": 2}


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the next runs end as told."""

    def set_report(*args: Any, **fields: Any) -> None:
        answer = cleanup.CleanupReport(*args, **fields)
        monkeypatch.setattr(cleanup, "run", lambda **options: answer)

    return set_report


# The plain function


def test_the_function_cleans_up_and_answers_what_json_can_hold() -> None:
    add_entries(2)
    answer = task.clean_up(trigger="rq")
    assert json.loads(json.dumps(answer)) == ANSWER
    assert CleanupRun.objects.get().trigger == "rq"
    assert not BlacklistEntry.objects.exists()


def test_the_function_does_nothing_when_it_is_not_due() -> None:
    run = add_run(ago=CleanupRun.LEASE * 0)
    assert task.clean_up()["skipped"] == "not due"
    assert CleanupRun.objects.get() == run


def test_the_function_leaves_no_connection_open() -> None:
    task.clean_up()
    assert connection.connection is None


def test_a_run_that_stops_early_is_no_failure() -> None:
    add_entries(1)
    answer = task.clean_up(max_seconds=0)
    assert (answer["outcome"], answer["stopped"]) == ("partial", "out of time")


@pytest.mark.any_database
def test_a_failed_run_raises_what_a_scheduler_can_send_on(report: Any) -> None:
    report("failed", error="OperationalError: disk full")
    with pytest.raises(task.CleanupFailed, match=r"^OperationalError: disk full$") as caught:
        task.clean_up()
    assert str(pickle.loads(pickle.dumps(caught.value))) == "OperationalError: disk full"  # noqa: S301


@pytest.mark.any_database
def test_a_database_that_is_down_raises_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(cleanup, "run", fail)
    with pytest.raises(OperationalError, match="gone"):
        task.clean_up()


# Celery's task, without a worker


def test_the_task_of_celery_succeeds() -> None:
    add_entries(2)
    assert for_celery.clean_up.apply(kwargs={"using": "default"}).get() == ANSWER
    assert CleanupRun.objects.get().trigger == "celery"


@pytest.mark.any_database
def test_the_task_of_celery_fails_when_the_run_does(report: Any) -> None:
    report("failed", error="OperationalError: disk full")
    result = for_celery.clean_up.apply()
    assert result.state == "FAILURE"
    assert isinstance(result.result, task.CleanupFailed)


# The real tools


class Paste:
    """A folder in which the snippets are pasted, and tools run."""

    def __init__(self, folder: Any) -> None:
        self.folder, self._processes = folder, []

    def settings(self, *lines: Any) -> None:
        self.write("pasted_settings.py", "from project.settings import *\n", *lines)

    def write(self, name: Any, *parts: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{part}\n" for part in parts))

    def environment(self, **changes: Any) -> Any:
        return environment(
            PYTHONPATH=os.pathsep.join([str(self.folder), str(BASE_DIR)]),
            DJANGO_SETTINGS_MODULE="pasted_settings",
            **changes,
        )

    def start(self, *words: Any, **changes: Any) -> Any:
        """Start a tool; what it says goes to a file, whose path is returned."""
        output = self.folder / f"output{len(self._processes)}"
        with output.open("w") as file:
            process = subprocess.Popen(
                words,
                env=self.environment(**changes),
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return output

    def manage(self, *arguments: Any, **options: Any) -> Any:
        done = subprocess.run(
            command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> None:
        """End everything that was started, politely first."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            with suppress(ProcessLookupError):  # Nothing of it is left, as it should be.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def paste(tmp_path: Path) -> Iterator[Any]:
    paste = Paste(tmp_path)
    yield paste
    paste.stop()


def soon(page: Any, beginning: Any, *, time: Any, instead: Any) -> Any:
    """Return the Python snippet of a page with the time shortened."""
    text = snippet(page, language="python", beginning=beginning)
    assert text.count(time) == 1
    return text.replace(time, instead)


def wait_for_a_run(output: Any, *, trigger: Any) -> None:
    """Wait until the entries are gone and the run is recorded as that of ``trigger``."""
    runs = CleanupRun.objects.filter(trigger=trigger, outcome="succeeded")
    try:
        wait_until(runs.exists)
    except pytest.fail.Exception:
        pytest.fail(output.read_text())
    assert runs.get().entries_removed == 3
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
def test_celery_beat_and_a_worker_run_it_and_see_when_it_fails(paste: Any) -> None:
    piece = soon("celery", "from celery.schedules", time="crontab(minute=7)", instead="1.0")
    paste.settings(
        piece,
        'CELERY_BROKER_URL = "filesystem://"',
        "CELERY_BROKER_TRANSPORT_OPTIONS = {",
        '    f"{name}_folder": env("CELERY_FOLDER") for name in ("control", "processed")',
        '} | {f"data_folder_{way}": env("CELERY_FOLDER") for way in ("in", "out")}',
    )
    paste.write(
        "pasted.py",
        "from celery import Celery",
        'app = Celery("pasted")',
        'app.config_from_object("django.conf:settings", namespace="CELERY")',
    )
    add_entries(3)

    def start(name: Any, **changes: Any) -> Any:
        folder = paste.folder / name
        folder.mkdir()
        # A worker ends if it reads a message of this broker, a folder, while it is being written.
        supervisor = ["sh", "-c", 'until "$@"; do :; done', "supervisor"]
        program = [*supervisor, sys.executable, "-m", "celery", "-A", "pasted", "worker", "--beat"]
        options = ["--concurrency=1", "--loglevel=INFO", f"--schedule={folder}/beat"]
        return paste.start(*program, *options, CELERY_FOLDER=str(folder), **changes)

    good, bad = start("good"), start("bad", DATABASE_URL=NOWHERE)
    wait_for_a_run(good, trigger="celery")
    wait_until(lambda: "'skipped': 'not due'" in good.read_text())
    assert "raised" not in good.read_text()
    wait_until(lambda: "clean_up" in bad.read_text() and "OperationalError" in bad.read_text())
    assert "raised unexpected: OperationalError(" in bad.read_text()


@pytest.mark.any_database
def test_apscheduler_runs_it_and_sees_when_it_fails(paste: Any) -> None:
    paste.settings()
    piece = soon("apscheduler", "import os", time="minute=7", instead='second="*"')
    paste.write("cleanup_scheduler.py", piece)
    add_entries(3)
    good = paste.start(sys.executable, "cleanup_scheduler.py")
    bad = paste.start(sys.executable, "cleanup_scheduler.py", DATABASE_URL=NOWHERE)
    wait_for_a_run(good, trigger="apscheduler")
    wait_until(lambda: "OperationalError" in bad.read_text())
    assert "Job \"clean_up (trigger: cron[second='*']" in bad.read_text()
    assert "raised an exception" in bad.read_text()
    assert good.read_text() == ""


@pytest.mark.thorough
@pytest.mark.any_database
def test_huey_runs_it_and_sees_when_it_fails(paste: Any) -> None:
    paste.settings(
        'INSTALLED_APPS += ["huey.contrib.djhuey", "pasted"]',
        'HUEY = {"huey_class": "huey.MemoryHuey", "immediate": False}',
    )
    paste.write("pasted/__init__.py")
    piece = soon("huey", "from huey", time='minute="7"', instead='minute="*"')
    paste.write("pasted/tasks.py", piece)
    add_entries(3)
    good = paste.start(*command("run_huey"))
    bad = paste.start(*command("run_huey"), DATABASE_URL=NOWHERE)
    wait_for_a_run(good, trigger="huey")
    wait_until(lambda: "OperationalError" in bad.read_text())
    assert "Unhandled exception in task" in bad.read_text()
    assert "Unhandled" not in good.read_text()


@pytest.mark.thorough
@pytest.mark.any_database
def test_django_q2_runs_it_and_sees_when_it_fails(paste: Any) -> None:
    paste.settings(
        'INSTALLED_APPS += ["django_q"]',
        # It looks at its schedules when 30 seconds of guarding are over: at once, this way.
        'Q_CLUSTER = {"orm": "default", "workers": 1, "guard_cycle": 30, "timeout": 60,'
        ' "retry": 90, "poll": 0.1}',
    )
    piece = soon("django-q2", "from django_q", time="HOURLY", instead="MINUTES")
    # A second one, which fails as a run would that finds no such database.
    broken = piece.replace("tokens-cleanup", "bad").replace(
        "trigger='django-q2'", "using='nowhere'"
    )
    tables = "from django.core.management import call_command; call_command('migrate', 'django_q')"
    try:
        paste.manage("shell", "-v0", input="\n".join([tables, piece, piece, broken]))
        add_entries(3)
        output = paste.start(*command("qcluster"))
        wait_for_a_run(output, trigger="django-q2")
        wait_until(lambda: len(_results()) == 2)
        assert _results() == [("bad", False), ("tokens-cleanup", True)]
    finally:
        paste.stop()
        _drop_tables_of_django_q()


def _results() -> list[tuple[str, bool]]:
    """Return what django-q2 has recorded: the names of the schedules, and whether all was well."""
    with connection.cursor() as cursor:
        group = connection.ops.quote_name("group")
        cursor.execute(f"SELECT {group}, success FROM django_q_task")
        return sorted((group, bool(success)) for group, success in cursor.fetchall())


def _drop_tables_of_django_q() -> None:
    """Leave no table behind that the tests' own project does not know."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table.startswith("django_q_"):
                cursor.execute(f"DROP TABLE {connection.ops.quote_name(table)}")
        cursor.execute("DELETE FROM django_migrations WHERE app = 'django_q'")


@pytest.mark.any_database
def test_nothing_of_ours_is_found_unasked() -> None:
    """Celery and Huey import every module that is called ``tasks``."""
    assert not list(Path(task.__file__).parent.rglob("tasks.py"))
