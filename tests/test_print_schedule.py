"""What is printed, quoted for its format. ``test_schedulers`` runs it with the real tools.

Nothing here is marked to use a database, so printing that asked one would fail.
"""

import ast
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import kubernetes_validate
import pytest
import yaml
from django.conf import settings
from django.core.management import CommandError, call_command

from project.settings import BASE_DIR
from tokens.schedule.printed import PIECES, Project

from .processes import command, wait_until

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
IN_AN_IMAGE = ["kubernetes", "docker"]
PYTHON = ["celery", "apscheduler", "django-q2", "huey"]

# Stands for the interpreter: writes down where it runs and what it was given.
RECORDER = """\
#!/bin/sh
{ pwd; for word in "$@"; do printf '%s\\n' "$word"; done; } > "$RECORD"
"""


def printed(name, **options):
    out = io.StringIO()
    call_command("cleanup_tokens", print_schedule=name, stdout=out, **options)
    return out.getvalue()


def refused(*arguments, **options):
    """Call the command wrongly; return its exit code and its message."""
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("cleanup_tokens", *arguments, stdout=out, **options)
    assert out.getvalue() == ""
    return caught.value.returncode, str(caught.value)


@pytest.fixture(params=NASTY)
def nasty(request, tmp_path):
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
        database=request.param,
    )


def expanded(text):
    """Return the text as it comes out where ``$$`` is a ``$``, and variables have no value."""
    return re.sub(r"\$(.?)", lambda found: "$" if found[1] == "$" else "", text)


def recorded(path):
    return path.read_text().splitlines()


# What is printed


@pytest.mark.parametrize("name", NAMES)
def test_it_prints_the_piece_and_nothing_else(name, capfd):
    text = printed(name)

    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "See that it works" in text
    assert "TOKENS_CLEANUP_INTERVAL" in text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in [*IN_AN_IMAGE, *PYTHON]])
def test_a_piece_names_this_project(name):
    text = printed(name)

    assert sys.executable in text
    assert str(BASE_DIR / "manage.py") in text
    assert os.environ["DJANGO_SETTINGS_MODULE"] in text


@pytest.mark.parametrize("name", IN_AN_IMAGE)
def test_a_piece_for_an_image_names_nothing_of_this_machine(name):
    text = printed(name)

    assert str(BASE_DIR) not in text
    assert sys.executable not in text
    assert os.environ["DJANGO_SETTINGS_MODULE"] in text
    assert "image: YOUR-IMAGE:TAG  # <-" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_database_is_named_if_it_was_asked_for(name, monkeypatch):
    monkeypatch.setitem(settings.DATABASES, "tokens_db", settings.DATABASES["default"])

    assert "tokens_db" not in printed(name)
    assert "tokens_db" in printed(name, database="tokens_db")


def test_it_answers_json():
    answer = json.loads(printed("cron.d", format="json"))

    assert answer == {"name": "cron.d", "schedule": printed("cron.d")}


def test_it_is_silent_at_verbosity_0():
    assert printed("systemd", verbosity=0) == ""


@pytest.mark.slow
def test_it_needs_no_database():
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
def test_its_page_shows_what_is_printed(name):
    page = "cron" if name in ("crontab", "cron.d") else name
    text = (BASE_DIR / "docs" / "howto" / "schedule" / f"{page}.md").read_text()

    assert f"\n{PIECES[name](SHOP)}```\n" in text
    assert f"--print-schedule {name}" in text
    headings = ["Set it up", "See that it works", "Watch it", "When it does not work"]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == headings


# What it refuses


@pytest.mark.parametrize("name", ["cronn", "", "SYSTEMD"])
def test_an_unknown_name_is_answered_by_the_known_ones(name):
    assert refused(print_schedule=name) == (
        2,
        "--print-schedule must be one of crontab, cron.d, systemd, kubernetes, windows, celery,"
        f" apscheduler, django-q2, huey, docker, not {name!r}.",
    )


@pytest.mark.parametrize("other", ["--dry-run", "--check"])
def test_it_goes_with_no_other_question(other):
    _, message = refused("--print-schedule", "huey", other)

    assert "not allowed with argument" in message


def test_an_unknown_database_is_refused():
    code, message = refused(print_schedule="huey", database="nowhere")

    assert (code, message[:32]) == (2, "There is no database 'nowhere' i")


def test_without_a_settings_module_it_says_what_to_do(monkeypatch):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")

    assert refused(print_schedule="cron.d") == (
        2,
        "A schedule needs a settings module: set DJANGO_SETTINGS_MODULE.",
    )


def test_a_path_with_a_line_break_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/srv/a\nb/python")

    assert refused(print_schedule="cron.d") == (
        2,
        r"'/srv/a\nb/python' can't be written into a schedule: rename it.",
    )


# Where the project is


def test_the_project_is_where_manage_py_is(monkeypatch, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "manage.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["src/manage.py", "cleanup_tokens"])

    project = Project.here(database=None)

    assert project.directory == str(tmp_path / "src")
    assert project.manage == (str(tmp_path / "src" / "manage.py"),)


def test_a_release_behind_a_link_is_named_by_the_link(monkeypatch, tmp_path):
    release, current = tmp_path / "releases" / "42", tmp_path / "current"
    release.mkdir(parents=True)
    (release / "manage.py").touch()
    current.symlink_to(release)
    monkeypatch.chdir(current)
    monkeypatch.setenv("PWD", str(current))
    monkeypatch.setattr(sys, "argv", ["manage.py"])
    monkeypatch.setattr(sys, "executable", str(release / "venv" / "bin" / "python"))

    project = Project.here(database=None)

    assert project.directory == str(current)
    assert project.command[:2] == [f"{current}/venv/bin/python", f"{current}/manage.py"]


def test_a_stale_pwd_is_not_believed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", "/")

    (tmp_path / "manage.py").touch()
    monkeypatch.setattr(sys, "argv", ["manage.py"])

    assert Project.here(database=None).directory == str(tmp_path)


@pytest.mark.parametrize("module", ["shop_nowhere/settings.py", "shop_nowhere.py"])
def test_without_a_manage_py_it_is_called_through_django(monkeypatch, tmp_path, module):
    (tmp_path / module).parent.mkdir(exist_ok=True)
    (tmp_path / module).touch()
    monkeypatch.syspath_prepend(tmp_path)
    settings_module = module.removesuffix(".py").replace("/", ".")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", settings_module)
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/django-admin"])

    project = Project.here(database=None)

    assert project.command[:4] == [sys.executable, "-m", "django", "cleanup_tokens"]
    assert project.directory == str(tmp_path)


def test_settings_from_nowhere_are_refused(monkeypatch):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "nowhere_at_all.settings")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/django-admin"])

    assert refused(print_schedule="systemd") == (
        2,
        "Nobody can tell where nowhere_at_all.settings is imported from: call manage.py of the"
        " project.",
    )


# Options that are given with it


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PYTHON])
def test_a_piece_that_calls_the_command_passes_its_options_on(name):
    given = {"max_seconds": "600", "pause": "0.5", "batch_size": "100"}

    text = printed(name, metrics_file="/var/lib/my metrics/tokens.prom", **given)

    for word in ("--max-seconds=600", "--pause=0.5", "--batch-size=100"):
        assert word in text
    assert "--metrics-file=/var/lib/my metrics/tokens.prom" in text


@pytest.mark.parametrize("name", PYTHON)
def test_a_piece_that_calls_a_function_takes_only_the_time(name):
    text = printed(name, max_seconds="600")

    assert "max_seconds" in text
    assert "600.0" in text
    assert refused(print_schedule=name, pause="1") == (
        2,
        f"--print-schedule {name} calls a function, which takes no --pause.",
    )


def test_a_wrong_option_is_refused_before_anything_is_printed():
    assert refused(print_schedule="systemd", max_seconds="soon")[0] == 2


# Quoted for its format


@pytest.mark.parametrize(("name", "fields"), [("crontab", 5), ("cron.d", 6)])
def test_a_cron_line_reaches_the_program_word_for_word(nasty, tmp_path, name, fields):
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


def test_the_units_of_systemd_name_the_program_word_for_word(nasty, tmp_path):
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


def _units(project, folder):
    """Write the printed units as the files that they name; return them by name."""
    files = {}
    for section in PIECES["systemd"](project).split("\n# --- ")[1:]:
        path, text = section.split(" ---\n", 1)
        file = files[Path(path).name] = folder / Path(path).name
        file.write_text(text)
    assert sorted(files) == ["tokens-cleanup.service", "tokens-cleanup.timer"]
    return files


def _verify(files):
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
def test_systemd_accepts_the_units_and_finds_the_program(nasty, tmp_path):
    done = _verify(_units(nasty, tmp_path))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd_analyze
def test_systemd_accepts_the_units_of_this_project_and_would_tell_if_not(tmp_path):
    files = _units(Project.here(database=None), tmp_path)
    assert (_verify(files).returncode, _verify(files).stderr) == (0, "")

    service = files["tokens-cleanup.service"]
    service.write_text(service.read_text().replace("Nice=10", "Nice=nicely"))
    assert "nicely" in _verify(files).stderr


def test_the_manifest_of_kubernetes_fits_its_schema(nasty):
    manifest = yaml.safe_load(PIECES["kubernetes"](nasty))

    kubernetes_validate.validate(manifest, "1.33", strict=True)
    spec = manifest["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("7 * * * *", "Forbid")
    [container] = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    words = [expanded(word) for word in container["command"]]
    assert words == ["python", "manage.py", *nasty.options]
    assert container["env"] == [{"name": "DJANGO_SETTINGS_MODULE", "value": "shop.settings"}]


def test_the_task_of_windows_is_ascii_and_names_the_program_word_for_word(nasty):
    text = PIECES["windows"](nasty)

    assert text.isascii()
    # A declared encoding must match that of the file, which is up to the shell that saves it.
    assert text.startswith('<?xml version="1.0"?>\n')
    [action] = ElementTree.fromstring(text).findall(".//{*}Exec")  # noqa: S314
    program, arguments, directory = (child.text for child in action)
    assert (program, directory) == (nasty.python, nasty.directory)
    assert arguments == subprocess.list2cmdline(nasty.quiet_command[1:])


@pytest.mark.parametrize("name", PYTHON)
def test_python_pieces_name_the_database_word_for_word(nasty, name):
    tree = ast.parse(PIECES[name](nasty))
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]

    if name == "django-q2":  # It keeps the arguments as text.
        [kwargs] = [value for value in values if "trigger=" in str(value)]
        tree = ast.parse(f"f({kwargs})")
        values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert nasty.database in values


# The loop of Docker


def _loop(project):
    [service] = yaml.safe_load(PIECES["docker"](project))["services"].values()
    command = [expanded(word) for word in [*service["entrypoint"], *service["command"]]]
    return service, command


@pytest.fixture
def container(tmp_path):
    """Starts the loop with programs of ours as ``python`` and ``sleep``; return its process."""
    started = []

    def start(project, *, python, sleep):
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, script in (("python", python), ("sleep", sleep)):
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        process = subprocess.Popen(
            _loop(project)[1],
            env={"PATH": f"{programs}:{os.environ['PATH']}", "RECORD": str(tmp_path / "record")},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_loop_reaches_the_program_word_for_word(nasty, tmp_path, container):
    record = tmp_path / "record"
    process = container(nasty, python=RECORDER, sleep="#!/bin/sh\nkill $PPID\n")

    assert process.wait(30) == 0
    assert recorded(record)[1:] == ["manage.py", *nasty.options]
    service, _ = _loop(nasty)
    assert [expanded(word) for word in service["healthcheck"]["test"]] == [
        *["CMD", "python", "manage.py", "cleanup_tokens", "--check", "-v0"],
        f"--database={nasty.database}",
    ]


def test_the_loop_goes_on_after_a_failure(tmp_path, container):
    python = '#!/bin/sh\necho x >> "$RECORD"\nexit 1\n'
    container(Project.here(database=None), python=python, sleep="#!/bin/sh\n")

    record = tmp_path / "record"
    wait_until(lambda: record.exists() and len(recorded(record)) > 2)


@pytest.mark.parametrize(("code", "rest"), [(0, "3600"), (3, "3600"), (1, "60")])
def test_the_loop_rests_for_an_hour_and_after_a_failure_for_a_minute(
    tmp_path, container, code, rest
):
    sleep = '#!/bin/sh\necho "$1" > "$RECORD"\nkill $PPID\n'
    project = Project.here(database=None)

    assert container(project, python=f"#!/bin/sh\nexit {code}\n", sleep=sleep).wait(30) == 0
    assert recorded(tmp_path / "record") == [rest]
    assert _loop(project)[0]["healthcheck"]["start_interval"] == "30s"


def test_stopping_the_loop_lets_the_run_end_by_itself(tmp_path, container):
    record = tmp_path / "record"
    python = """\
#!/bin/sh
trap 'echo stopped >> "$RECORD"; exit 3' TERM
echo started >> "$RECORD"
while :; do /bin/sleep 0.1; done
"""
    process = container(Project.here(database=None), python=python, sleep="#!/bin/sh\nexit 1\n")
    wait_until(record.exists)

    process.terminate()

    assert process.wait(30) == 0
    assert recorded(record) == ["started", "stopped"]
    assert process.stderr.read() == ""
