import importlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tokens.schedule.crontab import config

from . import crontabs

pytestmark = pytest.mark.any_database

TICK = "tokens.schedule.crontab.tick"
CALL = "django.core.management.call_command"
HOURLY = "7 * * * *"


def entry(*job: Any) -> Any:
    class Settings:
        CRONJOBS = [job]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "settings", Settings)
        [found] = config.entries()
    return found


@pytest.mark.parametrize(
    "job",
    [
        (HOURLY, TICK),
        [HOURLY, TICK],
        (HOURLY, TICK, ">> log"),
        (HOURLY, TICK, [], {"max_seconds": 600}),
        (HOURLY, TICK, [], {"max_seconds": 600}, ">> log"),
        (HOURLY, CALL, ["cleanup_tokens"]),
        (HOURLY, CALL, ("cleanup_tokens", "--max-seconds", "600")),
        (HOURLY, CALL, ["cleanup_tokens"], {"verbosity": 0}, ">> log"),
        (HOURLY, CALL, [], {"command_name": "cleanup_tokens"}),
    ],
    ids=str,
)
def test_these_entries_clean_up(job: Any) -> None:
    assert entry(*job).reaches_cleanup


@pytest.mark.parametrize(
    "job",
    [
        (HOURLY, "shop.cron.report"),
        (HOURLY, CALL),
        (HOURLY, CALL, ["clearsessions"]),
        (HOURLY, CALL, [["cleanup_tokens"]]),
        (HOURLY, CALL, "cleanup_tokens"),
        (HOURLY, CALL, ["cleanup_tokens", "--check"]),
        (HOURLY, CALL, ["cleanup_tokens"], {"dry_run": True}),
        (HOURLY, TICK, [], {"check": True}),
    ],
    ids=str,
)
def test_these_do_not(job: Any) -> None:
    assert not entry(*job).reaches_cleanup


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ((HOURLY, TICK), True),
        ((HOURLY, TICK, [], {"if_due": False}), False),
        ((HOURLY, CALL, ["cleanup_tokens"]), False),
        ((HOURLY, CALL, ["cleanup_tokens", "--if-due"]), True),
        ((HOURLY, CALL, ["cleanup_tokens"], {"if_due": True}), True),
    ],
    ids=str,
)
def test_an_entry_knows_whether_it_asks_first(job: Any, expected: bool) -> None:
    assert entry(*job).only_if_due is expected


@pytest.mark.parametrize(
    "job",
    [(HOURLY, TICK), [HOURLY, TICK], ("7  * * * *", TICK), (HOURLY, TICK, [], {"b": 1, "a": "ö"})],
    ids=str,
)
def test_the_hash_is_that_of_django_crontab(settings: Any, job: Any) -> None:
    settings.CRONJOBS = [job]
    [line] = crontabs.lines()
    [found] = config.entries()
    assert config.hash_in(line) == found.hash


def test_what_is_no_json_has_no_hash() -> None:
    assert entry(HOURLY, TICK, [], {"max_seconds": timedelta(1)}).hash is None


@pytest.mark.parametrize("jobs", [None, [], ["7 * * * *"], [()], [(HOURLY,)], [None, 7]], ids=str)
def test_what_is_no_entry_is_left_out(settings: Any, jobs: Any) -> None:
    settings.CRONJOBS = jobs
    assert config.cleanup_entries() == []


def test_a_line_is_known_by_the_marker_of_its_project(settings: Any) -> None:
    settings.CRONJOBS = [(HOURLY, TICK)]
    [line] = crontabs.lines()
    assert config.hash_in(line)
    assert config.hash_in(f"  #{line}") is None
    assert config.hash_in(line.strip() + " of somebody else") is None
    settings.CRONTAB_COMMENT = "mine"
    assert config.hash_in(line) is None
    assert config.hash_in(*crontabs.lines())


def test_the_marker_begins_with_the_settings_module_where_nothing_is_set(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del settings.CRONTAB_DJANGO_PROJECT_NAME
    assert config.marker() == "django-cronjobs for tests"
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    assert config.marker() == "django-cronjobs for "


def test_manage_py_is_looked_for_where_it_is_not_set(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert config.manage_path() == settings.CRONTAB_DJANGO_MANAGE_PATH
    del settings.CRONTAB_DJANGO_MANAGE_PATH
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "manage", raising=False)
    assert config.manage_path() is None
    (tmp_path / "manage.py").touch()
    importlib.invalidate_caches()
    assert config.manage_path() == str(tmp_path / "manage.py")
