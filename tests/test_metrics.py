import os
import re
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from project.settings import BASE_DIR
from tests.deleting import replace_batches
from tokens import blacklist, cleanup, clock, metrics, retry, snapshot
from tokens.claims import Claims
from tokens.jwt import RefreshToken
from tokens.metrics import ChecksCollector, CleanupCollector, write_textfile
from tokens.models import BlacklistEntry, CleanupRun
from tokens.schedule import periodic

from .conftest import DAY, HOUR
from .expiring import add_entries, add_run, add_sessions
from .processes import manage

pytestmark = pytest.mark.django_db(transaction=True)


def parsed(text: Any) -> Any:
    """Return the samples by name, and by name and label where there is one."""
    return {
        (sample.name.removeprefix("tokens_cleanup_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape() -> Any:
    return parsed(generate_latest(metrics.registry()).decode())


def database_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(using: Any = None, **options: Any) -> None:
        raise OperationalError("connection refused\nDETAIL: at some host")

    monkeypatch.setattr(metrics, "status", fail)


# What is shown


def outcomes(shown: Any) -> Any:
    """Return the outcomes that are shown as the newest run's: one, or none."""
    return [key[1] for key, value in shown.items() if key[0] == "last_outcome" and value == 1]


def test_after_a_run_it_shows_what_came_of_it() -> None:
    before = clock.to_epoch(clock.now())
    add_entries(4)
    add_sessions(3)
    cleanup.run()
    add_entries(1, ends=-HOUR)
    shown = scrape()
    assert shown[("database_up",)] == 1
    assert shown[("overdue",)] == 0
    assert outcomes(shown) == ["succeeded"]
    assert before <= shown[("last_success_timestamp_seconds",)] <= before + 60
    assert shown[("next_due_timestamp_seconds",)] >= before + 86_400
    assert shown[("backlog_rows",)] == 1
    assert shown[("oldest_expired_timestamp_seconds",)] == pytest.approx(before - 3600, abs=60)
    assert shown[("clock_difference_seconds",)] == pytest.approx(0, abs=60)


def test_where_it_never_ran_nothing_is_said_about_runs() -> None:
    shown = scrape()
    assert shown[("database_up",)] == 1
    assert not [name for name, *_ in shown if name.startswith("last_")]


@pytest.mark.parametrize(
    ("minutes", "outcome"), [(9, "running"), (11, "abandoned")], ids=["at work", "killed"]
)
def test_every_outcome_is_shown_and_one_is_the_newest_runs(minutes: int, outcome: str) -> None:
    add_run(ago=DAY)
    add_run(ago=timedelta(minutes=minutes), outcome="running", slot=1)
    shown = scrape()
    labels = {key[1] for key in shown if key[0] == "last_outcome"}
    assert labels == set(CleanupRun.Outcome.values)
    assert outcomes(shown) == [outcome]


def test_runs_that_all_stop_early_are_overdue() -> None:
    add_run(ago=4 * DAY)
    for days in (3, 2, 1, 0):
        add_run(ago=days * DAY, outcome="partial")
    assert scrape()[("overdue",)] == 1


def test_each_metric_is_documented() -> None:
    reference = (BASE_DIR / "docs" / "reference.md").read_text()
    _, _, section = reference.partition("\n## Metrics\n")
    documented = re.findall(r"^\| `(tokens_\w+)", section.split("\n## ")[0], re.MULTILINE)
    shown = [*CleanupCollector().describe(), *ChecksCollector().collect()]
    assert documented == [
        f"{family.name}_total" if family.type == "counter" else family.name for family in shown
    ]


def test_a_scrape_costs_the_same_however_many_runs_there_are(statements: Callable[[], Any]) -> None:
    def cost() -> Any:
        with statements() as ran:
            scrape()
        assert {sql.split()[0] for sql in ran} == {"SELECT"}
        return len(ran)

    add_entries(1)
    add_run(ago=2 * DAY)
    few = cost()
    for _ in range(30):
        add_run(ago=DAY, outcome="failed")
    assert cost() == few == 5


# Being registered, and a database that is away


@pytest.fixture
def own_registry() -> Any:
    return CollectorRegistry(auto_describe=True)


def test_being_registered_asks_no_database(
    own_registry: Any, statements: Callable[[], Any]
) -> None:
    with statements() as ran:
        own_registry.register(CleanupCollector())
    assert ran == []
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        own_registry.register(CleanupCollector())


def test_a_database_that_is_away_takes_nobody_elses_metrics_away(
    own_registry: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own_registry.register(CleanupCollector())
    Gauge("requests", "of somebody else", registry=own_registry).set(7)
    database_gone(monkeypatch)
    shown = parsed(generate_latest(own_registry).decode())
    assert shown == {("database_up",): 0, ("requests",): 7}
    [record] = caplog.records
    assert (record.name, record.event) == ("tokens", "metrics_failed")
    assert record.getMessage().endswith("OperationalError: connection refused")


def test_it_works_beside_the_metrics_of_the_process() -> None:
    collector = CleanupCollector()
    REGISTRY.register(collector)
    try:
        assert b"tokens_cleanup_database_up 1.0" in generate_latest()
    finally:
        REGISTRY.unregister(collector)


@pytest.mark.parametrize("was_open", [True, False], ids=["open", "closed"])
def test_a_scrape_leaves_the_connection_as_it_was(was_open: bool) -> None:
    scrape()
    if was_open:
        connection.ensure_connection()
    else:
        connection.close()
    scrape()
    assert (connection.connection is not None) is was_open


# Cached checks


def test_cached_checks_of_this_process_are_counted_by_what_answered(
    settings: Any, statements: Callable[[], Any]
) -> None:
    settings.TOKENS_CHECK_MAX_AGE = timedelta(minutes=20)
    snapshot.reset()
    own, began = CollectorRegistry(), time.monotonic()
    with statements() as ran:
        own.register(ChecksCollector())
    assert not ran
    token = RefreshToken.for_user(get_user_model().objects.create_user("ada")).access_token
    for _ in range(3):
        assert not blacklist.is_revoked(Claims.of(token))
    del token.payload["sid"]
    assert not blacklist.is_revoked(Claims.of(token))
    with statements() as ran:
        shown = parsed(generate_latest(own).decode())
    assert not ran
    pid = str(os.getpid())
    assert shown[("tokens_checks_total", pid, "from_snapshot")] == 3
    assert shown[("tokens_checks_total", pid, "not_covered")] == 1
    assert shown[("tokens_checks_total", pid, "without_snapshot")] == 0
    assert shown[("tokens_snapshot_loads_total", pid)] == 1
    assert shown[("tokens_snapshot_failures_total", pid)] == 0
    assert shown[("tokens_snapshot_entries", pid)] == 0
    assert 0 <= shown[("tokens_snapshot_age_seconds", pid)] <= time.monotonic() - began
    snapshot.reset()
    assert ("tokens_snapshot_age_seconds", pid) not in parsed(generate_latest(own).decode())


# The file


def test_the_file_is_replaced_at_once_and_may_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "tokens.prom"
    path.write_text("old")
    write_textfile(str(path))
    assert parsed(path.read_text())[("database_up",)] == 1
    assert path.stat().st_mode & 0o444 == 0o444
    assert [found.name for found in tmp_path.iterdir()] == ["tokens.prom"]


def call(path: Any, **options: Any) -> Any:
    """Call the command; return its exit code, its complaint, and what the file shows."""
    code, said = 0, ""
    try:
        call_command("cleanup_tokens", metrics_file=str(path), verbosity=0, **options)
    except CommandError as error:
        code, said = error.returncode, str(error)
    return code, said, parsed(path.read_text()) if path.is_file() else None


@pytest.fixture
def path(tmp_path: Path) -> Any:
    return tmp_path / "tokens.prom"


def test_the_command_writes_the_file_after_a_run(path: Any) -> None:
    add_entries(2)
    code, _, shown = call(path)
    assert (code, outcomes(shown)) == (0, ["succeeded"])


def test_the_command_writes_the_file_after_a_run_that_failed(
    path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, cutoff: Any, **more: Any) -> None:
        raise OperationalError("disk full")

    monkeypatch.setattr(retry, "WAITS", ())
    replace_batches(monkeypatch, fail)
    code, _, shown = call(path)
    assert (code, outcomes(shown)) == (1, ["failed"])


def test_the_command_writes_the_file_after_a_run_that_stopped_early(path: Any) -> None:
    add_entries(1)
    code, _, shown = call(path, max_seconds=1e-9)
    assert (code, outcomes(shown)) == (3, ["partial"])


@pytest.mark.parametrize("slot", [None, 1], ids=["not due", "running elsewhere"])
def test_the_command_writes_the_file_when_it_had_nothing_to_do(path: Any, slot: Any) -> None:
    outcome = "running" if slot else "succeeded"
    add_run(ago=timedelta(0), outcome=outcome, slot=slot)
    code, _, shown = call(path, if_due=True)
    assert (code, outcomes(shown)) == (0, [outcome])


def test_a_check_writes_the_file_and_a_dry_run_does_not(path: Any) -> None:
    add_run(ago=26 * HOUR)
    assert call(path, dry_run=True) == (0, "", None)
    code, _, shown = call(path, check=True)
    assert (code, shown[("overdue",)]) == (1, 1)


@pytest.mark.parametrize("attempt", ["succeeded", "not due", "running elsewhere", "no database"])
def test_a_command_that_goes_on_writes_the_file_after_each_attempt(
    path: Any, monkeypatch: pytest.MonkeyPatch, attempt: str
) -> None:
    if attempt == "not due":
        add_run(ago=timedelta(0))
    elif attempt == "running elsewhere":
        add_run(ago=timedelta(0), outcome="running", slot=1)
    elif attempt == "no database":
        database_gone(monkeypatch)
        monkeypatch.setattr(cleanup, "run", metrics.status)
    found = []

    def sleep(loop: Any, wait: Any) -> None:
        found.append(parsed(path.read_text()))
        path.unlink()
        if len(found) == 2:
            loop._stop.set()

    monkeypatch.setattr(periodic.Periodic, "_sleep", sleep)
    call(path, every="1h")
    up = 0 if attempt == "no database" else 1
    assert [shown[("database_up",)] for shown in found] == [up, up]


def test_a_command_that_goes_on_does_so_without_the_file(
    path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited = []

    def sleep(loop: Any, wait: Any) -> None:
        waited.append(wait)
        if len(waited) == 2:
            loop._stop.set()

    monkeypatch.setattr(periodic.Periodic, "_sleep", sleep)
    monkeypatch.setattr(metrics, "write_to_textfile", _disk_full)
    code, said, _ = call(path, every="1h")
    assert (code, said, len(waited)) == (0, "", 2)
    assert capsys.readouterr().err.count("No space left on device") == 3  # and in the end


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/tokens.prom", "there is no directory"),
        (".", "is a directory"),
        ("tokens.txt", "end in .prom"),
    ],
    ids=["no directory", "a directory", "another name"],
)
def test_a_path_that_can_not_be_written_exits_with_2_and_nothing_is_done(
    tmp_path: Path, name: str, message: str
) -> None:
    add_entries(1)
    code, said, _ = call(tmp_path / name)
    assert code == 2
    assert said.startswith("--metrics-file: ")
    assert message in said
    assert BlacklistEntry.objects.exists()


def test_without_prometheus_client_it_exits_with_2_and_nothing_is_done(
    path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_entries(1)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "tokens.metrics")
    code, said, shown = call(path)
    assert (code, shown) == (2, None)
    assert 'pip install "django-token-blacklist[metrics]"' in said
    assert BlacklistEntry.objects.exists()


def test_a_file_that_can_not_be_written_in_the_end_is_told_and_fails_nothing(
    path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_entries(1)
    monkeypatch.setattr(metrics, "write_to_textfile", _disk_full)
    assert call(path) == (0, "", None)
    said = f"The metrics could not be written to {path}: No space left on device\n"
    assert capsys.readouterr().err == said
    assert not BlacklistEntry.objects.exists()


def test_a_file_that_can_not_be_written_does_not_hide_why_the_run_stopped(
    path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_entries(1)
    monkeypatch.setattr(metrics, "write_to_textfile", _disk_full)
    code, said, _ = call(path, max_seconds=1e-9)
    assert (code, said[:13]) == (3, "Stopped early")
    assert "No space left on device" in capsys.readouterr().err


def _disk_full(path: Any, registry: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.any_database
@pytest.mark.slow
def test_a_process_without_a_database_says_so_in_the_file(path: Any) -> None:
    done = manage(
        "cleanup_tokens",
        f"--metrics-file={path}",
        DATABASE_URL="postgres://postgres@127.0.0.1:1/nowhere",
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert parsed(path.read_text()) == {("database_up",): 0}


# The demo project


def test_the_project_serves_the_metrics_to_its_own_network(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot.reset()  # its numbers count from the start of the process
    answer = client.get("/metrics/")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert parsed(answer.text)[("database_up",)] == 1
    assert client.post("/metrics/").status_code == 405
    assert client.get("/metrics/", REMOTE_ADDR="192.0.2.7").status_code == 403
    database_gone(monkeypatch)
    answer = client.get("/metrics/")
    assert answer.status_code == 200
    shown = parsed(answer.text)
    assert shown[("database_up",)] == 0
    assert ("overdue",) not in shown
    assert shown[("tokens_checks_total", str(os.getpid()), "from_snapshot")] == 0
