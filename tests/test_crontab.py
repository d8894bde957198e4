import getpass
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError
from django.db import OperationalError, connection
from django.test import Client

from tokens import cleanup
from tokens.models import BlacklistEntry, CleanupRun
from tokens.schedule.crontab import job as crontab

from .calling import call
from .expiring import add_entries, add_run
from .printed_cron import PrintedCronFile
from .processes import PATIENCE, database_url, manage, manage_in_turn, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CRON = "/usr/sbin/cron"
TICK = "tokens.schedule.crontab.tick"
CALL = "django.core.management.call_command"
NOWHERE = "sqlite:////no/such/directory/db.sqlite3"


def job_hash(job: Any = None) -> Any:
    """Return the name that django-crontab gives to a job, or to the project's."""
    [project_job] = django_settings.CRONJOBS
    job = job or project_job
    text = json.JSONEncoder(sort_keys=True).encode(job)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def run_job(*job: Any, **changes: Any) -> Any:
    """Let django-crontab run a job in a process."""
    changes |= {"DJANGO_SETTINGS_MODULE": "tests.cron_settings", "CRON_JOBS": json.dumps([job])}
    return manage("crontab", "run", job_hash(job), **changes)


_REFUSE = {
    "sqlite": ["BEGIN SELECT RAISE(ABORT, 'disk full'); END"],
    "mysql": ["FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'disk full'"],
    "postgresql": [
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'disk full'; END $$",
    ],
}


@contextmanager
def refused_deletes() -> Iterator[None]:
    """A database that answers, and deletes no entry: for every process that uses it."""
    table = BlacklistEntry._meta.db_table
    body, *before = _REFUSE[connection.vendor]
    on = f" ON {table}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for statement in [*before, f"CREATE TRIGGER refuse BEFORE DELETE ON {table} {body}"]:
            cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER refuse{on}")
            if before:
                cursor.execute("DROP FUNCTION refuse()")


@pytest.fixture
def django_crontab_log() -> Iterator[Any]:
    """The logger that django-crontab reports failures to, as it was before."""
    log = logging.getLogger("django_crontab.crontab")
    yield log
    log.filters.clear()
    log.setLevel(logging.NOTSET)
    log.disabled = False
    logging.disable(logging.NOTSET)


def test_a_tick_cleans_up_and_is_recorded_as_crontab(capfd: pytest.CaptureFixture[str]) -> None:
    add_entries(2)
    crontab.tick()
    assert not BlacklistEntry.objects.exists()
    assert CleanupRun.objects.get().trigger == "crontab"
    assert capfd.readouterr() == ("", "")


def test_a_tick_that_is_not_due_does_nothing() -> None:
    run = add_run(ago=django_settings.TOKENS_CLEANUP_INTERVAL / 2)
    add_entries(1)
    crontab.tick()
    assert CleanupRun.objects.get() == run
    assert BlacklistEntry.objects.exists()


@pytest.mark.parametrize("error", [OperationalError("gone"), ValueError("gone"), SystemExit(2)])
@pytest.mark.parametrize("silenced", ["not", "disabled", "by level", "globally"])
def test_a_tick_that_fails_ends_the_process_when_it_is_logged(
    monkeypatch: pytest.MonkeyPatch, django_crontab_log: Any, error: Any, silenced: str
) -> None:
    if silenced == "disabled":
        django_crontab_log.disabled = True
    elif silenced == "by level":
        django_crontab_log.setLevel(logging.CRITICAL + 1)
    elif silenced == "globally":
        logging.disable(logging.CRITICAL)

    def fail(**options: Any) -> None:
        raise error

    monkeypatch.setattr(cleanup, "run", fail)
    with pytest.raises((CommandError, type(error))):
        crontab.tick()
    with pytest.raises(SystemExit, match="cleanup_tokens: "):
        django_crontab_log.exception("Failed to complete cronjob")
    django_crontab_log.exception("It takes itself off.")


def test_a_run_that_is_recorded_as_failed_is_a_failed_tick(
    monkeypatch: pytest.MonkeyPatch, django_crontab_log: Any, caplog: pytest.LogCaptureFixture
) -> None:
    report = cleanup.CleanupReport("failed", error="OperationalError: disk full")
    monkeypatch.setattr(cleanup, "run", lambda **options: report)
    with pytest.raises(CommandError, match="disk full"):
        crontab.tick()
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "Scheduled token cleanup failed: The cleanup failed: OperationalError: disk full"
    ]
    assert len(django_crontab_log.filters) == 1


def test_a_tick_that_works_leaves_the_logger_of_django_crontab_alone(
    django_crontab_log: Any,
) -> None:
    crontab.tick()
    assert django_crontab_log.filters == []


@pytest.mark.any_database
@pytest.mark.slow
def test_crontab_run_exits_with_0_and_is_silent_when_the_tick_works() -> None:
    add_entries(2)
    done = manage("crontab", "run", job_hash())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
@pytest.mark.slow
def test_crontab_run_exits_with_1_and_says_why_when_the_tick_fails(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/empty.sqlite3"
    done = manage("crontab", "run", job_hash(), DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ERROR tokens Scheduled token cleanup failed: The database 'default'" in done.stderr
    assert "cleanup_tokens: The database 'default' can't be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.any_database
@pytest.mark.slow
def test_a_database_that_is_away_shows_by_exit_code_log_and_health_and_the_next_run_succeeds() -> (
    None
):
    add_entries(2)
    ask = "from django.test import Client; print(Client().get('/health/', HTTP_HOST='localhost'))"
    (code, out, err), (_, health, _) = manage_in_turn(
        ("crontab", "run", job_hash()), ("shell", "-v0", "-c", ask), DATABASE_URL=NOWHERE
    )
    assert (str(code)[:52], out) == ("cleanup_tokens: The database 'default' can't be used", "")
    assert "ERROR tokens Scheduled token cleanup failed" in err
    assert not CleanupRun.objects.exists()  # nothing can be recorded
    assert "status_code=503" in health
    crontab.tick()
    assert CleanupRun.objects.get().outcome == "succeeded"


@pytest.mark.any_database
@pytest.mark.slow
def test_crontab_run_exits_with_1_and_says_why_when_deletes_fail() -> None:
    add_entries(2)
    with refused_deletes():
        done = manage("crontab", "run", job_hash())
    assert (done.returncode, done.stdout) == (1, "")
    assert "ERROR tokens Scheduled token cleanup failed" in done.stderr
    assert "cleanup_tokens: The cleanup failed: " in done.stderr
    assert "disk full" in done.stderr
    assert CleanupRun.objects.get().outcome == "failed"


@pytest.mark.slow
def test_deletes_that_fail_show_everywhere_and_the_next_run_succeeds(
    client: Client, django_crontab_log: Any
) -> None:
    add_entries(2)
    with refused_deletes(), pytest.raises(CommandError, match="disk full"):
        crontab.tick()
    run = CleanupRun.objects.get()
    assert (run.outcome, run.trigger, run.entries_removed) == ("failed", "crontab", 0)
    assert "disk full" in run.error
    assert client.get("/health/").json()["status"] == "overdue"
    assert client.get("/health/?strict=1").status_code == 503
    assert call("cleanup_tokens", check=True)[0] == 1
    crontab.tick()
    assert list(CleanupRun.objects.order_by("pk").values_list("outcome", flat=True)) == [
        "failed",
        "succeeded",
    ]
    assert client.get("/health/?strict=1").json()["status"] == "ok"
    assert not BlacklistEntry.objects.exists()


def test_a_tick_takes_the_options_of_the_command() -> None:
    add_entries(3)
    crontab.tick(batch_size=1, max_seconds=600, trigger="crontab at night")
    run = CleanupRun.objects.get()
    assert (run.trigger, run.entries_removed) == ("crontab at night", 3)
    assert run.batches >= 3


def test_a_tick_that_stops_early_is_no_failure(
    django_crontab_log: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tokens")
    add_entries(1)
    crontab.tick(max_seconds=1e-9)
    assert CleanupRun.objects.get().outcome == "partial"
    [record] = [r for r in caplog.records if r.event == "tick_stopped_early"]
    assert record.levelno == logging.INFO
    assert "Stopped early (out of time): rows are left" in record.getMessage()
    assert not [r for r in caplog.records if r.levelno > logging.INFO]
    assert django_crontab_log.filters == []


@pytest.mark.any_database
@pytest.mark.slow
def test_crontab_run_exits_with_0_and_is_silent_when_the_tick_stops_early() -> None:
    add_entries(1)
    done = run_job("7 * * * *", TICK, [], {"max_seconds": 1e-9}, "")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert CleanupRun.objects.get().outcome == "partial"


def test_an_option_that_does_not_exist_is_a_failed_tick(django_crontab_log: Any) -> None:
    with pytest.raises(TypeError, match="max_second"):
        crontab.tick(max_second=600)
    assert len(django_crontab_log.filters) == 1


@pytest.mark.any_database
@pytest.mark.slow
def test_django_crontab_passes_the_options_on() -> None:
    add_entries(3)
    done = run_job("7 * * * *", TICK, [], {"batch_size": 1, "if_due": False}, ">> log")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert CleanupRun.objects.get().batches >= 3


@pytest.mark.any_database
@pytest.mark.slow
def test_W024_and_W025_are_about_failures_that_django_crontab_hides() -> None:
    jobs = [
        ("7 * * * *", CALL, ["cleanup_tokens"]),
        ("7 * * * *", TICK, [], ">> log"),
        ("7 * * * *", TICK, {"pause": 1}),
        ("7 * * * *", TICK, ["--pause=1"]),
    ]
    answers = manage_in_turn(
        *(("crontab", "run", job_hash(job)) for job in jobs),
        DJANGO_SETTINGS_MODULE="tests.cron_settings",
        CRON_JOBS=json.dumps(jobs),
        DATABASE_URL=NOWHERE,
    )
    assert [(code, out) for code, out, _ in answers] == [(0, "")] * len(jobs)
    # The log goes on writing to where it wrote to first.
    said = "".join(err for _, _, err in answers)
    assert said.count("Failed to complete cronjob") == len(jobs)


# The line in the real crontab


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.xdist_group("crontab")
@pytest.mark.skipif(not shutil.which("crontab"), reason="there is no crontab")
def test_the_real_crontab_is_installed_stale_and_missing_by_turns() -> None:
    look = [
        ("cleanup_tokens", "--check", "--format=json"),
        ("check", "--deploy", "--tag=security"),
    ]

    def states(*commands: Any, **changes: Any) -> list[Any]:
        """Run commands in turn, and look before each of them and at the end."""
        each = [part for command in commands for part in (*look, command)]
        changes |= {"CRONTAB_PROJECT_NAME": "tokens-test-state"}
        answers = manage_in_turn(*each, *look, **changes)
        assert [out for _, out, _ in answers[2::3]] == [""] * len(commands)
        found = [json.loads(out)["crontab"]["state"] for _, out, _ in answers[::3]]
        warned = [set(re.findall(r"tokens\.(W03[1-5])", err)) for _, _, err in answers[1::3]]
        return list(zip(found, warned, strict=True))

    missing, installed = ("missing", {"W033"}), ("installed", set())
    with own_crontab():
        assert states(("crontab", "add", "-v0")) == [missing, installed]
        stale = states(DJANGO_SETTINGS_MODULE="tests.cron_settings")
        assert stale == [("stale", {"W034"})]
        assert states(("crontab", "remove", "-v0")) == [installed, missing]


# With the real daemon


def _reason_to_skip() -> Any:
    if os.environ.get("CI") == "true":
        return ""
    if not Path(CRON).exists():
        return f"there is no {CRON}"
    return "only root can start cron" if os.geteuid() else ""


@contextmanager
def own_crontab() -> Iterator[None]:
    """Give the current user's crontab back as it was."""
    before = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    try:
        yield
    finally:
        if before.returncode == 0:
            subprocess.run(["crontab", "-"], input=before.stdout, text=True, check=True)
        else:
            subprocess.run(["crontab", "-r"], capture_output=True, check=False)


@contextmanager
def running_cron() -> Iterator[None]:
    """Start cron unless it runs, and end it only if it was started here."""
    if _cron_runs():
        yield
        return
    daemon = subprocess.Popen([CRON, "-f"])
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)


def _cron_runs() -> bool:
    ours = os.readlink("/proc/self/ns/mnt")
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # One in a container reads other files.
            if (path / "comm").read_text() == "cron\n" and os.readlink(path / "ns/mnt") == ours:
                return True
    return False


def _install(name: Any, folder: Any, *, url: Any) -> None:
    """Install the tick under a marker of its own; what it writes and returns goes to files."""
    folder.mkdir()
    added = manage(
        "crontab",
        "add",
        "-v0",
        DJANGO_SETTINGS_MODULE="tests.cron_settings",
        CRONTAB_PROJECT_NAME=f"tokens-test-{name}",
        CRON_PREFIX=f"env DEBUG=1 DATABASE_URL={url}",
        # What a run says is there as soon as it has ended, and while the next one is at work.
        CRON_SUFFIX=f"> {folder}/new 2>&1; code=$?; mv {folder}/new {folder}/output;"
        f" echo $code >> {folder}/status",
    )
    assert (added.returncode, added.stdout) == (0, "")
    assert added.stderr in ("", f"no crontab for {getpass.getuser()}\n")


def _exit_codes(folder: Any) -> Any:
    status = folder / "status"
    return status.read_text().split() if status.exists() else []


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.cron
@pytest.mark.xdist_group("crontab")
@pytest.mark.skipif(bool(_reason_to_skip()), reason=_reason_to_skip() or "-")
def test_a_real_cron_runs_the_tick_and_the_printed_file_and_sees_failures(
    tmp_path: Path, client: Client
) -> None:
    assert shutil.which("crontab"), "install cron"
    ours, away = tmp_path / "ours", tmp_path / "away"
    printed = PrintedCronFile(tmp_path)
    add_entries(3)
    with own_crontab(), printed.installed(), running_cron():
        with refused_deletes():
            _install("ours", ours, url=database_url())
            _install("away", away, url=NOWHERE)
            wait_until(lambda: _exit_codes(ours) and _exit_codes(away))
            failed = (ours / "output").read_text()
        assert client.get("/health/").json()["status"] == "overdue"
        wait_until(lambda: _exit_codes(ours)[-1] == "0" and printed.runs())
    assert _exit_codes(ours)[0] == _exit_codes(away)[0] == "1"
    assert "cleanup_tokens: The cleanup failed: " in failed
    assert "cleanup_tokens: The database 'default' can't be used" in (away / "output").read_text()
    assert (ours / "output").read_text() == ""
    first, *_, last = CleanupRun.objects.order_by("pk")
    assert (first.trigger, first.outcome) == ("crontab", "failed")
    assert (last.trigger, last.outcome, last.entries_removed) == ("crontab", "succeeded", 3)
    assert not BlacklistEntry.objects.exists()
    assert client.get("/health/").json()["status"] == "ok"
    assert printed.runs() == [("succeeded", 3)]
