"""What is printed, quoted for its format. ``test_crontab`` runs a line with the real cron.

Nothing here is marked to use a database, so printing that asked one would fail.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from project.settings import BASE_DIR
from tokens.schedule.printed import PAGES, PIECES, Project

from .processes import command
from .snippets import HOWTO

pytestmark = pytest.mark.any_database

NASTY = [
    'it\'s 100% "mine"',
    "$HOME `id` $(id)",
    "#1; é 日本 & <b>",
    "back\\slash",
    "%n 50%% off",
    "-v",
]
NAMES = list(PIECES)

# Stands for the interpreter: writes down where it runs and what it was given.
RECORDER = """\
#!/bin/sh
{ pwd; for word in "$@"; do printf '%s\\n' "$word"; done; } > "$RECORD"
"""


def printed(name: Any, **options: Any) -> Any:
    out = io.StringIO()
    call_command("cleanup_tokens", print_schedule=name, stdout=out, **options)
    return out.getvalue()


def refused(*arguments: Any, **options: Any) -> Any:
    """Call the command wrongly; return its exit code and its message."""
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("cleanup_tokens", *arguments, stdout=out, **options)
    assert out.getvalue() == ""
    return caught.value.returncode, str(caught.value)


@pytest.fixture(params=NASTY)
def nasty(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A project in a place with a difficult name, whose interpreter only records."""
    directory = tmp_path / request.param
    directory.mkdir()
    python = directory / "pyth on%"
    python.write_text(RECORDER)
    python.chmod(0o755)
    return Project(
        python=str(python),
        manage=(str(directory / "manage.py"),),
        directory=str(directory),
        settings="shop.settings",
        user="root",
        options=(f"--database={request.param}",),
    )


def recorded(path: Any) -> Any:
    return path.read_text().splitlines()


# What is printed


@pytest.mark.parametrize("name", NAMES)
def test_it_prints_the_piece_and_nothing_else(name: Any, capfd: pytest.CaptureFixture[str]) -> None:
    text = printed(name)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert re.search("(Try|Check) it", text)
    assert "TOKENS_CLEANUP_INTERVAL" in text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_piece_names_this_project(name: Any) -> None:
    text = printed(name)
    assert sys.executable in text
    assert str(BASE_DIR / "manage.py") in text
    assert os.environ["DJANGO_SETTINGS_MODULE"] in text


@pytest.mark.parametrize("name", NAMES)
def test_the_database_is_named_if_it_was_asked_for(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.DATABASES, "tokens_db", settings.DATABASES["default"])
    assert "tokens_db" not in printed(name)
    assert "tokens_db" in printed(name, database="tokens_db")


def test_it_answers_json() -> None:
    answer = json.loads(printed("cron.d", format="json"))
    assert answer == {"name": "cron.d", "schedule": printed("cron.d")}


def test_it_is_silent_at_verbosity_0() -> None:
    assert printed("systemd", verbosity=0) == ""


@pytest.mark.slow
def test_it_needs_no_database() -> None:
    done = subprocess.run(
        command("cleanup_tokens", "--print-schedule", "cron.d"),
        env={"DEBUG": "1", "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n7 * * * * ") == 1


SHOP = Project(
    python="/srv/shop/.venv/bin/python",
    manage=("/srv/shop/manage.py",),
    directory="/srv/shop",
    settings="shop.settings",
    user="www-data",
)


@pytest.mark.parametrize("name", NAMES)
def test_its_page_shows_what_is_printed(name: Any) -> None:
    page = "cron" if name in ("crontab", "cron.d") else name
    text = (HOWTO / "schedule" / f"{page}.md").read_text()
    assert f"\n{PIECES[name](SHOP)}```\n" in text
    assert f"--print-schedule {name}" in text


@pytest.mark.parametrize(
    "page",
    sorted((HOWTO / "schedule").glob("*.md"), key=lambda path: path.name),
    ids=lambda path: path.stem,
)
def test_the_pages_are_built_alike(page: Any) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    if page.stem != "README":
        assert headings == [
            "Set it up",
            "See that it works",
            "Watch it",
            "When it does not work",
        ]
    else:
        assert "Print it, paste it" in headings


# What it refuses


@pytest.mark.parametrize("name", ["cronn", "", "SYSTEMD"])
def test_an_unknown_name_is_answered_by_the_known_ones(name: str) -> None:
    assert refused(print_schedule=name) == (
        2,
        f"--print-schedule must be one of crontab, cron.d, systemd, windows, not {name!r}.",
    )


@pytest.mark.parametrize(
    "name", ["celery", "huey", "django-q2", "apscheduler", "docker", "kubernetes"]
)
def test_a_scheduler_with_a_snippet_is_answered_by_its_page(name: str) -> None:
    page = f"docs/howto/schedule/{name}.md"
    assert refused(print_schedule=name) == (
        2,
        "--print-schedule prints crontab, cron.d, systemd, windows."
        f" The documentation has a snippet for {name}: {page}",
    )
    assert (BASE_DIR / page).exists()


def test_nothing_is_both_printed_and_a_snippet() -> None:
    assert not set(PIECES) & set(PAGES)


@pytest.mark.parametrize("other", ["--dry-run", "--check"])
def test_it_goes_with_no_other_question(other: str) -> None:
    _, message = refused("--print-schedule", "systemd", other)
    assert "not allowed with argument" in message


def test_an_unknown_database_is_refused() -> None:
    code, message = refused(print_schedule="systemd", database="nowhere")
    assert (code, message[:32]) == (2, "There is no database 'nowhere' i")


def test_without_a_settings_module_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    assert refused(print_schedule="cron.d") == (
        2,
        "A schedule needs a settings module: set DJANGO_SETTINGS_MODULE.",
    )


def test_a_path_with_a_line_break_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/srv/a\nb/python")
    assert refused(print_schedule="cron.d") == (
        2,
        r"'/srv/a\nb/python' can't be written into a schedule: rename it.",
    )


# Where the project is


def test_the_project_is_where_manage_py_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "manage.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["src/manage.py", "cleanup_tokens"])
    project = Project.here()
    assert project.directory == str(tmp_path / "src")
    assert project.manage == (str(tmp_path / "src" / "manage.py"),)


def test_a_release_behind_a_link_is_named_by_the_link(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release, current = tmp_path / "releases" / "42", tmp_path / "current"
    release.mkdir(parents=True)
    (release / "manage.py").touch()
    current.symlink_to(release)
    monkeypatch.chdir(current)
    monkeypatch.setenv("PWD", str(current))
    monkeypatch.setattr(sys, "argv", ["manage.py"])
    monkeypatch.setattr(sys, "executable", str(release / "venv" / "bin" / "python"))
    project = Project.here()
    assert project.directory == str(current)
    assert project.command[:2] == [f"{current}/venv/bin/python", f"{current}/manage.py"]


def test_a_stale_pwd_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", "/")
    (tmp_path / "manage.py").touch()
    monkeypatch.setattr(sys, "argv", ["manage.py"])
    assert Project.here().directory == str(tmp_path)


@pytest.mark.parametrize("module", ["shop_nowhere/settings.py", "shop_nowhere.py"])
def test_without_a_manage_py_it_is_called_through_django(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str
) -> None:
    (tmp_path / module).parent.mkdir(exist_ok=True)
    (tmp_path / module).touch()
    monkeypatch.syspath_prepend(tmp_path)
    settings_module = module.removesuffix(".py").replace("/", ".")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", settings_module)
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/django-admin"])
    project = Project.here()
    assert project.command[:4] == [sys.executable, "-m", "django", "cleanup_tokens"]
    assert project.directory == str(tmp_path)


def test_settings_from_nowhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "nowhere_at_all.settings")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/django-admin"])
    assert refused(print_schedule="systemd") == (
        2,
        "Can't find out where nowhere_at_all.settings is imported from: use the project's"
        " manage.py.",
    )


# Options that are given with it


@pytest.mark.parametrize("name", NAMES)
def test_a_piece_passes_the_options_on(name: Any) -> None:
    given = {"max_seconds": "600", "pause": "0.5", "batch_size": "100"}
    text = printed(name, metrics_file="/var/lib/my metrics/tokens.prom", **given)
    for word in ("--max-seconds=600", "--pause=0.5", "--batch-size=100"):
        assert word in text
    assert "--metrics-file=/var/lib/my metrics/tokens.prom" in text


def test_a_wrong_option_is_refused_before_anything_is_printed() -> None:
    assert refused(print_schedule="systemd", max_seconds="soon")[0] == 2


# Quoted for its format


@pytest.mark.parametrize(("name", "fields"), [("crontab", 5), ("cron.d", 6)])
def test_a_cron_line_reaches_the_program_word_for_word(
    nasty: Any, tmp_path: Path, name: str, fields: int
) -> None:
    [line] = [x for x in PIECES[name](nasty).splitlines() if not x.startswith("#")]
    *moment, shell_command = line.split(" ", fields)
    assert moment[:5] == ["7", "*", "*", "*", "*"]
    assert moment[5:] == ["root"][: fields - 5]
    assert "%" not in shell_command.replace(r"\%", "")
    record = tmp_path / "record"
    subprocess.run(
        ["sh", "-c", shell_command.replace(r"\%", "%")], env={"RECORD": str(record)}, check=True
    )
    assert recorded(record) == [nasty.directory, *nasty.quiet_command[1:]]


def test_the_units_of_systemd_name_the_program_word_for_word(nasty: Any, tmp_path: Path) -> None:
    service = _units(nasty, tmp_path)["tokens-cleanup.service"].read_text()
    lines = dict(line.split("=", 1) for line in service.splitlines() if "=" in line)
    # Within its double quotes, systemd's escapes are those of the shell.
    assert "%" not in lines["ExecStart"].replace("%%", "")
    words = [word.replace("%%", "%") for word in shlex.split(lines["ExecStart"])]
    assert words[0].startswith(":") == any("$" in word for word in nasty.command)
    words[0] = words[0].removeprefix(":")
    assert words in (nasty.command, ["/usr/bin/env", *nasty.command])
    assert lines["WorkingDirectory"].replace("%%", "%") == nasty.directory
    assert lines["SuccessExitStatus"] == "3"


def _units(project: Any, folder: Any) -> Any:
    """Write the printed units as the files that they name; return them by name."""
    files = {}
    for section in PIECES["systemd"](project).split("\n# --- ")[1:]:
        path, text = section.split(" ---\n", 1)
        file = files[Path(path).name] = folder / Path(path).name
        file.write_text(text)
    assert sorted(files) == ["tokens-cleanup.service", "tokens-cleanup.timer"]
    return files


def _verify(files: Any) -> Any:
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, files.values())],
        capture_output=True,
        text=True,
        check=False,
    )


needs_systemd_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze") and os.environ.get("CI") != "true",
    reason="there is no systemd-analyze",
)


@needs_systemd_analyze
def test_systemd_accepts_the_units_and_finds_the_program(nasty: Any, tmp_path: Path) -> None:
    done = _verify(_units(nasty, tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd_analyze
def test_systemd_accepts_the_units_of_this_project_and_would_tell_if_not(tmp_path: Path) -> None:
    files = _units(Project.here(), tmp_path)
    assert (_verify(files).returncode, _verify(files).stderr) == (0, "")
    service = files["tokens-cleanup.service"]
    service.write_text(service.read_text().replace("Nice=10", "Nice=nicely"))
    assert "nicely" in _verify(files).stderr


def test_the_task_of_windows_is_ascii_and_names_the_program_word_for_word(nasty: Any) -> None:
    text = PIECES["windows"](nasty)
    assert text.isascii()
    # A declared encoding must match that of the file, which is up to the shell that saves it.
    assert text.startswith('<?xml version="1.0"?>\n')
    [action] = ElementTree.fromstring(text).findall(".//{*}Exec")  # noqa: S314
    program, arguments, directory = (child.text for child in action)
    assert (program, directory) == (nasty.python, nasty.directory)
    assert arguments == subprocess.list2cmdline(nasty.quiet_command[1:])
