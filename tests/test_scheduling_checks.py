"""Each trap of django-crontab has an id that shows where it should, and only there."""

import sys
from datetime import timedelta
from typing import Any

import pytest
from django.core.checks.registry import registry
from django.core.management import call_command

from tokens.checks import scheduling
from tokens.schedule.crontab import config

from . import crontabs
from .processes import manage

pytestmark = pytest.mark.any_database

MODULE = scheduling.__name__
TICK = "tokens.schedule.crontab.tick"
CALL = "django.core.management.call_command"
HOURLY = "7 * * * *"


def ids(*, deploy: bool = True) -> list[str]:
    # Only these: those of others describe all endpoints each time.
    checks = [check for check in registry.get_checks(deploy) if check.__module__ == MODULE]
    found = [message for check in checks for message in check(app_configs=None, databases=None)]
    return [str(message.id) for message in found if str(message.id).startswith("tokens.W0")]


@pytest.fixture(autouse=True)
def show(settings: Any, tmp_path: Any) -> Any:
    """A crontab program that answers as it is told; at first with the line."""

    def write(*lines: str, **answer: Any) -> None:
        settings.CRONTAB_EXECUTABLE = crontabs.program(
            tmp_path / "crontab", shows="".join(lines), **answer
        )

    write(*crontabs.lines())
    return write


@pytest.fixture
def jobs(settings: Any, show: Any) -> Any:
    """Set CRONJOBS, and install them as far as django-crontab can."""

    def set_jobs(*jobs: Any) -> None:
        settings.CRONJOBS = list(jobs)
        try:
            show(*crontabs.lines())
        except TypeError:
            show()

    return set_jobs


def test_the_project_passes() -> None:
    assert ids() == []


@pytest.mark.parametrize("entries", [(), ((HOURLY, "shop.cron.report"),)], ids=str)
def test_W020_no_entry_cleans_up(entries: Any, jobs: Any, settings: Any) -> None:
    jobs(*entries)
    assert ids(deploy=False) == ["tokens.W020"]
    assert ids() == ["tokens.W020"]
    settings.SILENCED_SYSTEM_CHECKS = ["tokens.W020"]
    call_command("check", fail_level="WARNING")


@pytest.mark.parametrize("words", ["crontab run 0123", "cleanup_tokens", "cleanup_tokens -v0"])
def test_W020_is_not_mailed_by_each_run(
    words: str, jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs()
    monkeypatch.setattr(sys, "argv", ["manage.py", *words.split()])
    assert ids(deploy=False) == []


@pytest.mark.slow
def test_a_run_by_django_crontab_prints_no_warning() -> None:
    without_jobs = {"DJANGO_SETTINGS_MODULE": "tests.trap_settings", "NO_JOBS": "1"}
    assert "(tokens.W020)" in manage("check", **without_jobs).stderr
    run = manage("crontab", "run", "0" * 32, **without_jobs)
    assert "No job with hash" in run.stderr
    assert "tokens.W" not in run.stderr


@pytest.mark.parametrize("schedule", ["@daily", "@hourly", "7 * * *", "7 * * * * *", ""])
def test_W021_a_schedule_without_five_fields(schedule: str, jobs: Any) -> None:
    jobs((schedule, TICK, [], {"if_due": False}))
    assert ids() == ["tokens.W021"]
    assert ids(deploy=False) == []


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ((HOURLY, TICK), []),
        (("*/10 * * * *", TICK), []),
        (("7 */1 * * *", TICK), []),
        (("7 2 * * *", TICK), ["tokens.W022"]),
        (("7 * * * 1", TICK), ["tokens.W022"]),
        (("@daily", TICK), ["tokens.W021", "tokens.W022"]),
        (("7 2 * * *", TICK, [], {"if_due": False}), []),
        (("7 2 * * *", CALL, ["cleanup_tokens"]), ["tokens.W025"]),
        (("7 2 * * *", CALL, ["cleanup_tokens", "--if-due"]), ["tokens.W022", "tokens.W025"]),
    ],
    ids=str,
)
def test_W022_a_tick_that_comes_less_often_than_every_hour(
    job: Any, expected: list[str], jobs: Any
) -> None:
    jobs(job)
    assert ids() == expected


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (">> /var/log/it.log 2>&1", []),
        (">> /var/log/$(date +\\%F).log", []),
        (">> /var/log/$(date +%F).log", ["tokens.W023"]),
        (">> /dev/null # quiet", ["tokens.W023"]),
    ],
)
def test_W023_percent_and_hash_around_the_command(
    suffix: str, expected: list[str], jobs: Any, settings: Any
) -> None:
    jobs((HOURLY, TICK, suffix))
    assert ids() == expected
    jobs((HOURLY, TICK, [], {}, suffix))
    assert ids() == expected
    jobs((HOURLY, TICK))
    for name in ("CRONTAB_COMMAND_SUFFIX", "CRONTAB_COMMAND_PREFIX"):
        setattr(settings, name, suffix)
        assert ids() == expected
        delattr(settings, name)
    assert ids(deploy=False) == []


@pytest.mark.parametrize(
    "rest",
    [
        ([], ">> log"),
        ([], None),
        (None,),
        ({"max_seconds": 600},),
        (["--max-seconds", "600"],),
        ([], {"max_seconds": timedelta(minutes=10)}),
    ],
    ids=str,
)
def test_W024_arguments_that_django_crontab_takes_for_something_else(rest: Any, jobs: Any) -> None:
    jobs((HOURLY, TICK, *rest))
    assert [found for found in ids() if found != "tokens.W033"] == ["tokens.W024"]
    assert ids(deploy=False) == []


def test_W024_is_not_about_arguments_in_their_place(jobs: Any) -> None:
    jobs((HOURLY, TICK, [], {"max_seconds": 600}, ">> log"))
    assert ids() == []


def test_W025_an_entry_that_hides_its_failures(jobs: Any) -> None:
    jobs((HOURLY, CALL, ["cleanup_tokens"], {"verbosity": 0}))
    assert ids() == ["tokens.W025"]
    assert ids(deploy=False) == []


def test_W026_the_settings_module_is_not_set(settings: Any, show: Any) -> None:
    del settings.CRONTAB_DJANGO_SETTINGS_MODULE
    show(*crontabs.lines())
    (message,) = scheduling.check_crontab_settings()
    assert (ids(), ids(deploy=False)) == (["tokens.W026"], [])
    assert '"tests.settings"' in str(message.hint)


@pytest.mark.parametrize(
    "name", ["nowhere.settings", "tests.nowhere", "tests settings", ".settings"]
)
def test_W026_the_settings_module_can_not_be_imported(name: str, settings: Any, show: Any) -> None:
    settings.CRONTAB_DJANGO_SETTINGS_MODULE = name
    show(*crontabs.lines())
    (message,) = scheduling.check_crontab_settings()
    assert message.id == "tokens.W026"
    assert f"names {name!r}, which can't be imported" in str(message.msg)


@pytest.mark.parametrize("name", [None, "config", "Core"])
def test_W027_the_project_has_no_name_of_its_own(
    name: str | None, settings: Any, show: Any
) -> None:
    if name is None:
        del settings.CRONTAB_DJANGO_PROJECT_NAME
    else:
        settings.CRONTAB_DJANGO_PROJECT_NAME = name
    show(*crontabs.lines())
    assert (ids(), ids(deploy=False)) == (["tokens.W027"], [])
    settings.CRONTAB_COMMENT = "shop-production"
    show(*crontabs.lines())
    assert ids() == []


def test_W028_the_lock_of_django_crontab(settings: Any) -> None:
    settings.CRONTAB_LOCK_JOBS = True
    assert (ids(), ids(deploy=False)) == (["tokens.W028"], [])
    settings.CRONTAB_LOCK_JOBS = False
    assert ids() == []


@pytest.mark.parametrize("name", ["CRONTAB_PYTHON_EXECUTABLE", "CRONTAB_DJANGO_MANAGE_PATH"])
@pytest.mark.parametrize("folder", ["my shop", "50%", "shop#2", "bob's", "shop"])
def test_W029_a_path_that_breaks_the_line(
    name: str, folder: str, settings: Any, tmp_path: Any
) -> None:
    path = tmp_path / folder / "it"
    path.parent.mkdir()
    path.touch()
    setattr(settings, name, str(path))
    found = [message.id for message in scheduling.check_crontab_settings()]
    assert found == ([] if folder == "shop" else ["tokens.W029"])
    path.unlink()
    assert "tokens.W029" in ids()
    setattr(settings, name, "manage.py")
    assert "tokens.W029" in ids()
    assert ids(deploy=False) == []


def test_W029_no_manage_py_at_all(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del settings.CRONTAB_DJANGO_MANAGE_PATH
    monkeypatch.setattr(config, "find_spec", lambda name: None)
    assert ids() == ["tokens.W029"]


def test_W030_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert (ids(), ids(deploy=False)) == (["tokens.W030"], [])


def test_W031_no_crontab_program(settings: Any) -> None:
    settings.CRONTAB_EXECUTABLE = "/no/such/crontab"
    assert (ids(), ids(deploy=False)) == (["tokens.W031"], [])


def test_W032_a_crontab_that_can_not_be_read(show: Any) -> None:
    show(says="You (shop) are not allowed to use this program (crontab)", code=1)
    (message,) = scheduling.check_crontab()
    assert "not allowed" in message.msg
    assert (ids(), ids(deploy=False)) == (["tokens.W032"], [])


def test_W033_the_line_is_missing(show: Any) -> None:
    show(says="no crontab for shop", code=1)
    assert (ids(), ids(deploy=False)) == (["tokens.W033"], [])


def test_W034_the_line_is_stale(show: Any, settings: Any) -> None:
    settings.CRONJOBS = [("8 * * * *", TICK)]
    assert (ids(), ids(deploy=False)) == (["tokens.W034"], [])


def test_W035_a_line_is_left_over(show: Any, settings: Any) -> None:
    left = crontabs.lines()
    settings.CRONJOBS = [("8 * * * *", TICK)]
    show(*left, *crontabs.lines())
    (message,) = scheduling.check_crontab()
    assert "no longer in CRONJOBS" in message.msg
    assert (ids(), ids(deploy=False)) == (["tokens.W035"], [])


def test_nothing_is_said_without_django_crontab(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_crontab"]
    settings.CRONTAB_EXECUTABLE = "/no/such/crontab"
    settings.CRONTAB_LOCK_JOBS = True
    settings.CRONJOBS = [("@daily", TICK, ">> log # there")]
    assert ids() == []
    settings.CRONJOBS = []
    assert ids() == []


@pytest.mark.slow
def test_each_hint_says_what_to_do() -> None:
    done = manage(
        "check", "--deploy", DJANGO_SETTINGS_MODULE="tests.trap_settings", PATH="/nowhere"
    )
    assert done.returncode == 0, done.stderr
    for number in (21, 22, 23, 24, 26, 27, 28, 29, 31):
        assert f"(tokens.W0{number}) " in done.stderr
    assert done.stderr.count("HINT:") >= 9
