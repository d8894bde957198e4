import getpass
import hashlib
import json
import logging
import os
import shutil
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError
from django.db import OperationalError

from tokens import cleanup
from tokens.models import BlacklistEntry, CleanupRun
from tokens.schedule import crontab

from .expiring import add_entries, add_run
from .printed_cron import PrintedCronFile
from .processes import database_url, manage, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CRON = "/usr/sbin/cron"
NOWHERE = "sqlite:////no/such/directory/db.sqlite3"


def job_hash():
    """Return the name that django-crontab gives to the project's job."""
    [job] = django_settings.CRONJOBS
    text = json.JSONEncoder(sort_keys=True).encode(job)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def django_crontab_log():
    """The logger that django-crontab reports failures to, as it was before."""
    log = logging.getLogger("django_crontab.crontab")
    yield log
    log.filters.clear()
    log.setLevel(logging.NOTSET)
    log.disabled = False
    logging.disable(logging.NOTSET)


def test_a_tick_cleans_up_and_is_recorded_as_crontab(capfd):
    add_entries(2)

    crontab.tick()

    assert not BlacklistEntry.objects.exists()
    assert CleanupRun.objects.get().trigger == "crontab"
    assert capfd.readouterr() == ("", "")


def test_a_tick_that_is_not_due_does_nothing():
    run = add_run(ago=django_settings.TOKENS_CLEANUP_INTERVAL / 2)
    add_entries(1)

    crontab.tick()

    assert CleanupRun.objects.get() == run
    assert BlacklistEntry.objects.exists()


@pytest.mark.parametrize("error", [OperationalError("gone"), ValueError("gone"), SystemExit(2)])
@pytest.mark.parametrize("silenced", ["not", "disabled", "by level", "globally"])
def test_a_tick_that_fails_ends_the_process_when_it_is_logged(
    monkeypatch, django_crontab_log, error, silenced
):
    if silenced == "disabled":
        django_crontab_log.disabled = True
    elif silenced == "by level":
        django_crontab_log.setLevel(logging.CRITICAL + 1)
    elif silenced == "globally":
        logging.disable(logging.CRITICAL)

    def fail(**options):
        raise error

    monkeypatch.setattr(cleanup, "run", fail)

    with pytest.raises((CommandError, type(error))):
        crontab.tick()
    with pytest.raises(SystemExit, match="cleanup_tokens: "):
        django_crontab_log.exception("Failed to complete cronjob")
    django_crontab_log.exception("It takes itself off.")


def test_a_run_that_is_recorded_as_failed_is_a_failed_tick(monkeypatch, django_crontab_log, caplog):
    report = cleanup.CleanupReport("failed", error="OperationalError: disk full")
    monkeypatch.setattr(cleanup, "run", lambda **options: report)

    with pytest.raises(CommandError, match="disk full"):
        crontab.tick()
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "Scheduled token cleanup failed: The cleanup failed: OperationalError: disk full"
    ]
    assert len(django_crontab_log.filters) == 1


def test_a_tick_that_works_leaves_the_logger_of_django_crontab_alone(django_crontab_log):
    crontab.tick()

    assert django_crontab_log.filters == []


def test_crontab_run_exits_with_0_and_is_silent_when_the_tick_works():
    add_entries(2)

    done = manage("crontab", "run", job_hash())

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not BlacklistEntry.objects.exists()


@pytest.mark.parametrize("how", ["unreachable", "without tables"])
def test_crontab_run_exits_with_1_and_says_why_when_the_tick_fails(tmp_path, how):
    url = NOWHERE if how == "unreachable" else f"sqlite:///{tmp_path}/empty.sqlite3"

    done = manage("crontab", "run", job_hash(), DATABASE_URL=url)

    assert (done.returncode, done.stdout) == (1, "")
    assert "cleanup_tokens: The database 'default' can't be used" in done.stderr
    assert "Traceback" not in done.stderr


# With the real daemon


def _reason_to_skip():
    if os.environ.get("CI") == "true":
        return ""
    if not Path(CRON).exists():
        return f"there is no {CRON}"
    return "only root can start cron" if os.geteuid() else ""


@contextmanager
def own_crontab():
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
def running_cron():
    """Start cron unless it runs, and end it only if it was started here."""
    if _cron_runs():
        yield
        return
    daemon = subprocess.Popen([CRON, "-f"])
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait(30)


def _cron_runs():
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if path.read_text() == "cron\n":
                return True
    return False


def _install(name, folder, *, url):
    """Install the tick under a marker of its own; what it writes and returns goes to files."""
    folder.mkdir()
    added = manage(
        "crontab",
        "add",
        "-v0",
        DJANGO_SETTINGS_MODULE="tests.cron_settings",
        CRONTAB_PROJECT_NAME=f"tokens-test-{name}",
        CRON_PREFIX=f"env DEBUG=1 DATABASE_URL={url}",
        CRON_SUFFIX=f"> {folder}/output 2>&1; echo $? > {folder}/status",
    )
    assert (added.returncode, added.stdout) == (0, "")
    assert added.stderr in ("", f"no crontab for {getpass.getuser()}\n")


def _finished(folder):
    status = folder / "status"
    return status.exists() and status.read_text().endswith("\n")


@pytest.mark.cron
@pytest.mark.skipif(bool(_reason_to_skip()), reason=_reason_to_skip() or "-")
def test_a_real_cron_runs_the_tick_and_the_printed_file_and_sees_a_failure(tmp_path):
    assert shutil.which("crontab"), "install cron"
    good, bad = tmp_path / "good", tmp_path / "bad"
    printed = PrintedCronFile(tmp_path)
    add_entries(3)

    with own_crontab(), printed.installed():
        _install("good", good, url=database_url())
        _install("bad", bad, url=NOWHERE)
        with running_cron():
            wait_until(lambda: _finished(good) and _finished(bad) and printed.runs(), seconds=130)

    assert (good / "status").read_text() == "0\n"
    assert (good / "output").read_text() == ""
    run = CleanupRun.objects.get()
    assert (run.trigger, run.outcome, run.entries_removed) == ("crontab", "succeeded", 3)
    assert not BlacklistEntry.objects.exists()
    assert (bad / "status").read_text() == "1\n"
    assert "cleanup_tokens: The database 'default' can't be used" in (bad / "output").read_text()
    assert printed.runs() == [("succeeded", 3)]
