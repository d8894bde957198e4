import getpass
import json
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client

from tokens.schedule import crontab
from tokens.schedule.crontab import State

from . import calling, crontabs
from .expiring import add_entries

call = partial(calling.call, "cleanup_tokens", check=True)

OTHER = "5 4 * * * /usr/bin/true # somebody else's\n"


@pytest.fixture
def show(settings: Any, tmp_path: Path) -> Any:
    """A crontab program that answers as it is told."""

    def write(*lines: Any, **answer: Any) -> None:
        path = tmp_path / "crontab"
        settings.CRONTAB_EXECUTABLE = crontabs.program(path, shows="".join(lines), **answer)

    return write


def test_the_line_that_django_crontab_adds_is_installed(show: Any) -> None:
    show("MAILTO=ops\n", OTHER, *crontabs.lines())
    found = crontab.inspect()
    assert found == crontab.Crontab(State.INSTALLED, getpass.getuser())


@pytest.mark.parametrize(
    "job",
    [
        ("7 * * * *", "tokens.schedule.crontab.tick", [], {"max_seconds": 600}, ">> log # there"),
        ("@daily", "django.core.management.call_command", ["cleanup_tokens"]),
    ],
    ids=str,
)
def test_a_line_is_found_that_django_crontab_itself_does_not_know(
    show: Any, settings: Any, job: Any
) -> None:
    settings.CRONJOBS = [("1 * * * *", "shop.cron.report"), job]
    show(*crontabs.lines())
    assert crontab.inspect().state is State.INSTALLED


def test_a_crontab_without_the_line_misses_it(show: Any) -> None:
    show(OTHER, *(f"# {line}" for line in crontabs.lines()))
    assert crontab.inspect().state is State.MISSING


@pytest.mark.parametrize(
    "says", ["no crontab for shop", "crontab: can't open 'shop': No such file or directory"]
)
def test_no_crontab_at_all_misses_it_too(show: Any, says: str) -> None:
    show(says=says, code=1)
    assert crontab.inspect().state is State.MISSING


def test_the_line_of_another_project_does_not_count(show: Any, settings: Any) -> None:
    show(*crontabs.lines())
    settings.CRONTAB_DJANGO_PROJECT_NAME = "another"
    assert crontab.inspect().state is State.MISSING


def test_a_line_of_the_entry_as_it_was_is_stale(show: Any, settings: Any) -> None:
    show(*crontabs.lines())
    settings.CRONJOBS = [("8 * * * *", "tokens.schedule.crontab.tick")]
    found = crontab.inspect()
    assert found.state is State.STALE
    assert "no longer has" in found.reason


def test_the_line_of_another_job_of_the_project_is_not_stale(show: Any, settings: Any) -> None:
    [tick] = settings.CRONJOBS
    settings.CRONJOBS = [("1 * * * *", "shop.cron.report")]
    show(*crontabs.lines())
    settings.CRONJOBS = [("1 * * * *", "shop.cron.report"), tick]
    assert crontab.inspect().state is State.MISSING


@pytest.mark.parametrize("name", ["CRONTAB_PYTHON_EXECUTABLE", "CRONTAB_DJANGO_MANAGE_PATH"])
def test_a_line_that_names_what_is_gone_is_stale(
    show: Any, settings: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setattr(settings, name, "/srv/releases/41/it")
    show(*crontabs.lines())
    found = crontab.inspect()
    assert (found.state, found.reason) == (State.STALE, "/srv/releases/41/it does not exist")


def test_a_line_whose_schedule_was_edited_is_stale(show: Any) -> None:
    [line] = crontabs.lines()
    assert line.startswith("7 * * * * ")
    show(line.replace("7 * * * *", "0 0 31 2 *"))
    found = crontab.inspect()
    assert (found.state, found.reason) == (
        State.STALE,
        "it says 0 0 31 2 *, but CRONJOBS says 7 * * * *",
    )


def test_a_line_for_other_settings_is_stale(show: Any, settings: Any) -> None:
    show(*crontabs.lines())
    settings.CRONTAB_DJANGO_SETTINGS_MODULE = "shop.settings"
    assert crontab.inspect().reason == "it lacks --settings=shop.settings"


def test_one_good_line_is_enough(show: Any, settings: Any) -> None:
    good = crontabs.lines()
    settings.CRONTAB_PYTHON_EXECUTABLE = "/srv/releases/41/it"
    show(*crontabs.lines(), *good)
    assert crontab.inspect().state is State.INSTALLED


def test_without_a_program_it_is_unknown(settings: Any, tmp_path: Path) -> None:
    settings.CRONTAB_EXECUTABLE = str(tmp_path / "crontab")
    found = crontab.inspect()
    assert (found.state, found.reason) == (
        State.UNKNOWN,
        f"there is no program {tmp_path}/crontab",
    )


def test_a_crontab_that_is_not_shown_is_unknown(show: Any) -> None:
    show(says="You (shop) are not allowed to use this program (crontab)\n", code=1)
    found = crontab.inspect()
    assert found.state is State.UNKNOWN
    assert found.reason.endswith("You (shop) are not allowed to use this program (crontab)")


def test_a_program_that_fails_in_silence_is_unknown(show: Any) -> None:
    show(code=7)
    assert crontab.inspect().reason.endswith("crontab -l: exit code 7")


def test_a_program_that_may_not_be_started_is_unknown(settings: Any, tmp_path: Path) -> None:
    settings.CRONTAB_EXECUTABLE = str(tmp_path)
    found = crontab.inspect()
    assert (found.state, found.reason) == (State.UNKNOWN, f"{tmp_path} -l: Permission denied")


def test_a_program_that_hangs_is_unknown(settings: Any, tmp_path: Path) -> None:
    slow = tmp_path / "crontab"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    settings.CRONTAB_EXECUTABLE = str(slow)
    found = crontab.inspect(seconds=0.2)
    assert found.reason == f"{slow} -l did not answer within 0.2 seconds"


def test_on_windows_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "pwd", None)
    monkeypatch.setenv("USERNAME", "shop")
    assert crontab.inspect() == crontab.Crontab(
        State.UNKNOWN, "shop", "there is no crontab on Windows"
    )


def test_the_program_is_found_on_the_path_and_may_have_arguments(
    show: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(*crontabs.lines())
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    settings.CRONTAB_EXECUTABLE = "crontab"
    assert crontab.inspect().state is State.INSTALLED
    settings.CRONTAB_EXECUTABLE = f"env -u NOTHING {tmp_path}/crontab"
    assert crontab.inspect() == crontab.Crontab(State.INSTALLED, "NOTHING")
    settings.CRONTAB_EXECUTABLE = "crontab '"
    assert crontab.inspect().reason == "there is no program 'crontab '\"'\"''"


def test_what_is_no_utf8_does_no_harm(settings: Any, tmp_path: Path) -> None:
    odd = tmp_path / "crontab"
    odd.write_bytes(b"#!/bin/sh\nprintf '# caf\\351\\n'\n")
    odd.chmod(0o755)
    settings.CRONTAB_EXECUTABLE = str(odd)
    assert crontab.inspect().state is State.MISSING


def test_a_user_without_a_name_has_a_number(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: Any) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    show()
    assert crontab.inspect().user == str(os.getuid())


def test_nobody_asks_where_no_entry_cleans_up(settings: Any) -> None:
    settings.CRONTAB_EXECUTABLE = "/no/such/program"
    settings.CRONJOBS = []
    assert crontab.inspect().state is State.UNSCHEDULED


def test_there_is_no_answer_without_django_crontab(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_crontab"]
    assert crontab.inspect() is None


# What ``cleanup_tokens --check`` makes of it


@pytest.fixture(params=["installed", "missing", "stale", "unknown", "unscheduled", "not used"])
def each(request: pytest.FixtureRequest, show: Any, settings: Any) -> Any:
    """The situations, one after the other."""
    lines = crontabs.lines()
    if request.param == "installed":
        show(*lines)
    elif request.param == "missing":
        show(says="no crontab for shop", code=1)
    elif request.param == "stale":
        show(*lines)
        settings.CRONJOBS = [("8 * * * *", "tokens.schedule.crontab.tick")]
    elif request.param == "unknown":
        show(says="not allowed", code=1)
    elif request.param == "unscheduled":
        settings.CRONJOBS = []
    else:
        settings.INSTALLED_APPS = [a for a in settings.INSTALLED_APPS if a != "django_crontab"]
    return request.param


@pytest.mark.django_db(transaction=True)
def test_the_check_shows_it_and_fails_not_for_it(each: Any, tmp_path: Path) -> None:
    me = getpass.getuser()
    repair = "  Unless another user or host has the line, type: python manage.py crontab add -v0"
    code, out, err = call()
    assert (code, err) == (0, "")
    _, heading, rest = out.partition("Crontab: ")
    assert (heading + rest).splitlines() == {
        "installed": [f"Crontab: installed (user {me})"],
        "missing": [f"Crontab: missing (user {me})", repair],
        "stale": [
            f"Crontab: stale (user {me}; it belongs to an entry that CRONJOBS no longer has)",
            repair,
        ],
        "unknown": [f"Crontab: unknown (user {me}; {tmp_path}/crontab -l: not allowed)"],
        "unscheduled": ["Crontab: unscheduled. No entry of CRONJOBS cleans up."],
        "not used": [],
    }[each]


@pytest.mark.django_db(transaction=True)
def test_the_check_tells_it_in_json(each: Any) -> None:
    answer = json.loads(call(format="json")[1])["crontab"]
    if each == "not used":
        assert answer is None
    else:
        assert list(answer) == ["state", "user", "reason"]
        assert (answer["state"], answer["user"]) == (each, getpass.getuser())
        assert (answer["reason"] is None) == (each not in ("stale", "unknown"))


@pytest.mark.django_db(transaction=True)
def test_an_overdue_cleanup_names_the_likely_cause(each: Any) -> None:
    add_entries(1, ends=timedelta(days=-2))
    me = getpass.getuser()
    repair = "Unless another user or host has one, type: python manage.py crontab add -v0"
    code, _, err = call()
    assert code == 1
    assert (
        err
        == "The cleanup is overdue: "
        + {
            "installed": f"its line is in the crontab of {me}, but does cron run?",
            "missing": f"the crontab of {me} has no line for it. {repair}",
            "stale": f"its line in the crontab of {me} is stale. {repair}",
            "unknown": "is it scheduled?",
            "unscheduled": "is it scheduled? No entry of CRONJOBS cleans up.",
            "not used": "is it scheduled?",
        }[each]
    )


# And ``/health/``


@pytest.fixture
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.mark.django_db
@pytest.mark.usefixtures("empty_cache")
def test_health_tells_it_to_anybody_without_names_and_paths(each: Any, client: Client) -> None:
    answer = client.get("/health/")
    assert answer.status_code == 200
    assert answer.json()["cleanup"]["crontab"] == (None if each == "not used" else each)


@pytest.mark.django_db
@pytest.mark.usefixtures("empty_cache")
def test_health_asks_once_a_minute(
    client: Client, monkeypatch: pytest.MonkeyPatch, time_machine: Any
) -> None:
    asked = []
    monkeypatch.setattr(crontab, "inspect", lambda: asked.append(1))
    time_machine.move_to("2030-01-01T00:00:00Z", tick=False)
    for _ in range(5):
        assert client.get("/health/").json()["cleanup"]["crontab"] is None
    assert len(asked) == 1
    time_machine.shift(61)
    client.get("/health/")
    assert len(asked) == 2


@pytest.mark.django_db
@pytest.mark.parametrize("fails", ["asking", "the cache"])
@pytest.mark.usefixtures("empty_cache")
def test_health_answers_where_this_fails(
    client: Client, monkeypatch: pytest.MonkeyPatch, fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(
        *((crontab, "inspect") if fails == "asking" else (LocMemCache, "get")), fail
    )
    answer = client.get("/health/")
    assert (answer.status_code, answer.json()["cleanup"]["crontab"]) == (200, "unknown")
    assert "can't be told" in caplog.text
