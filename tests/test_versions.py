"""Which versions of Python and other packages the app allows, warns of, and is tested with."""

import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import django
import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from tokens.checks import versions as checked

from . import versions

pytestmark = pytest.mark.any_database

GOOD = {
    "Python": "3.14.2",
    "Django": "6.1.3",
    "djangorestframework": "3.18.2",
    "djangorestframework-simplejwt": "5.5.1",
    "PyJWT": "2.13.0",
}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(**changes: str | None) -> None:
        there = GOOD | {name.replace("_", "-"): version for name, version in changes.items()}

        def version(name: str) -> str:
            if there[name] is None:
                raise metadata.PackageNotFoundError
            return there[name]

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(django, "get_version", lambda: there["Django"])
        monkeypatch.setattr(platform, "python_version", lambda: there["Python"])

    return install


def told() -> list[str]:
    return [message.msg for message in run_checks() if message.id == "tokens.W038"]


def test_what_is_installed_here_is_not_known_to_break() -> None:
    assert told() == []
    assert all(re.match(r"\d+\.\d+", str(checked.installed(name))) for name in GOOD)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Django": "4.2.30"}, "Django 4.2.30"),
        ({"Django": "5.1.15"}, "Django 5.1.15"),
        ({"Django": "5.2.7", "Python": "3.14.0"}, "Django 5.2.7 is installed with Python 3.14.0"),
        ({"Django": "6.0", "Python": "3.11.9"}, "Python 3.11.9 is installed with Django 6.0"),
        ({"Django": "6.1.3", "Python": "3.11.9"}, "Python 3.11.9 is installed with Django 6.1.3"),
        ({"djangorestframework": "3.18.1"}, "CVE-2026-114136"),
        ({"djangorestframework": "3.9"}, "djangorestframework 3.9 "),
        ({"djangorestframework_simplejwt": "5.5.0"}, "CVE-2024-22513"),
        ({"PyJWT": "2.12.1"}, "PyJWT 2.12.1"),
        ({"PyJWT": "2.9.0+debian"}, "PyJWT 2.9.0+debian"),
    ],
    ids=str,
)
def test_W038_names_a_combination_that_is_known_to_break(
    changes: dict[str, str], expected: str, install: Any
) -> None:
    install(**{"Python": "3.12.1", "Django": "5.2.8"} | changes)
    assert any(expected in message for message in told()), told()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Django": "5.2", "Python": "3.11.0"},
        {"Django": "5.2", "Python": "3.13.0"},
        {"Django": "5.2.8", "Python": "3.14.0"},
        {"Django": "5.2rc1", "Python": "3.13.0"},
        {"Django": "6.2a1", "Python": "3.15.0b2"},
        {"Django": "2028.1", "Python": "3.16.0"},
        {"Django": "5.2.40", "Python": "3.15.0"},
        {"djangorestframework": "4.0.dev0"},
        {"djangorestframework_simplejwt": "5.10"},
        {"djangorestframework_simplejwt": "6"},
        {"PyJWT": "3.0.0a1"},
        {"PyJWT": "2.100"},
        {"PyJWT": "2.13"},
        {"PyJWT": None},
        {"PyJWT": "unknown"},
    ],
    ids=str,
)
def test_a_version_that_nobody_has_tried_is_no_warning(
    changes: dict[str, str | None], install: Any
) -> None:
    install(**changes)
    assert told() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Django": "4.2.30"}, "Django 4.2.30 is installed: .* Upgrade to Django 5.2 or later"),
        ({"Django": "5.0.14"}, "Django 5.0.14 is installed"),
        ({"djangorestframework_simplejwt": "5.4.0"}, "simplejwt 5.4.0 is installed: .* 5.5.1 or"),
    ],
    ids=str,
)
def test_a_version_that_stops_the_import_is_named_before(
    changes: dict[str, str], expected: str, install: Any
) -> None:
    install(**changes)
    with pytest.raises(ImproperlyConfigured, match=expected):
        apps.get_app_config("tokens").import_models()


@pytest.mark.parametrize("changes", [{"Django": "5.1"}, {"djangorestframework_simplejwt": "5.5"}])
def test_a_version_that_only_breaks_something_starts(changes: dict[str, str], install: Any) -> None:
    install(**changes)
    apps.get_app_config("tokens").import_models()


def test_the_floors_of_the_wheel_are_those_that_the_check_names() -> None:
    floors = {
        broken.package.lower(): broken.fixed for broken in checked.BROKEN if not broken.beside
    }
    wheel = versions.of_the_wheel()
    uuid6 = wheel.pop("uuid6")
    assert {name: line.partition(">=")[2] for name, line in wheel.items()} == floors
    assert uuid6.endswith("; python_version < '3.14'")


def test_each_test_requirement_allows_what_the_wheel_allows() -> None:
    """A fresh machine has bounds, but its floors are those of the wheel."""
    lines = Path("requirements.txt").read_text().splitlines()
    ours = versions.requirements(lines)
    for name, line in versions.of_the_wheel().items():
        assert ours[name].startswith(line.partition(";")[0])


def names(there: list[str], **which: bool) -> list[str]:
    options = {"ends": False, "newest": False} | which
    runs = versions.combinations(dict.fromkeys(there, "python"), **options)
    return [f"{run.python}-{run.django}" for run in runs]


def test_all_combinations_that_django_supports_are_run() -> None:
    assert names(["3.11", "3.13"]) == [
        "3.11-lowest",
        "3.11-5.2",
        "3.13-5.2",
        "3.13-6.0",
        "3.13-6.1",
    ]
    assert len(names(versions.PYTHONS)) == 11


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["3.11"], ["3.11-lowest", "3.11-5.2"]),
        (["3.12"], ["3.12-lowest", "3.12-6.1"]),
        (["3.11", "3.12", "3.13"], ["3.11-lowest", "3.13-6.1"]),
        (["3.14"], ["3.14-5.2", "3.14-6.1"]),
        (["3.13", "3.15"], ["3.13-lowest", "3.15-6.1"]),
    ],
)
def test_the_oldest_and_the_newest_are_those_that_the_machine_allows(
    there: list[str], expected: list[str]
) -> None:
    assert names(there, ends=True) == expected


def test_what_is_installed_for_each_django() -> None:
    assert "Django==6.1.*" in versions.wanted("6.1")
    assert "Django==5.2" in versions.wanted(versions.LOWEST)
    assert "Django>=5.2a0" in versions.wanted(versions.NEWEST)
    assert "djangorestframework>=3.18.2" in versions.wanted("6.1")
    assert not {"django", "mypy", "django-stubs"} & set(versions.of_the_tests())


@pytest.mark.slow
def test_a_program_that_does_not_run_is_no_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho not switched on >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PYTHONS", f"{shim} {sys.executable} /nowhere/python3.13")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert versions.found() == {here: sys.executable}
