"""``manage.py`` as a process of its own, on the database of the test, and servers to ask."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from django.db import connection

# Seconds. A machine on which very much runs may take minutes for what usually takes one second.
PATIENCE = 240

MANAGE = str(Path(__file__).resolve().parent.parent / "manage.py")


def database_url() -> str:
    """Return the URL of the test's database, as project.settings reads it."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a child that works on the test's database."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    inherited |= {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_")}
    ours = {
        "DEBUG": "1",
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "project.settings",
    }
    return inherited | ours | changes


def command(*arguments: str) -> list[str]:
    return [sys.executable, MANAGE, *arguments]


def manage(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py`` to its end; ``changes`` are environment variables."""
    return subprocess.run(
        command(*arguments),
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


_IN_TURN = """
import contextlib, io, json, sys
from django.core.management import execute_from_command_line
answers = []
for arguments in json.loads(sys.argv[1]):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            execute_from_command_line(["manage.py", *arguments])
        except SystemExit as end:
            code = end.code
    answers.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""


def manage_in_turn(*commands: Sequence[str], **changes: str) -> list[tuple[int, str, str]]:
    """Run commands in one process; return what each exits with, and what it writes to where.

    To start takes most of the time of a command that is over at once.
    """
    done = subprocess.run(
        [sys.executable, "-c", _IN_TURN, json.dumps(commands)],
        cwd=Path(MANAGE).parent,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    # What crontab says by itself goes to neither.
    said = re.sub(r"^no crontab for .*\n", "", done.stderr, flags=re.MULTILINE)
    assert (done.returncode, said) == (0, ""), done.stderr
    return [(code, out, err) for code, out, err in json.loads(done.stdout)]


def fetch(url: str) -> httpx.Response:
    """GET ``url``, which is plain HTTP, on a connection of its own."""
    # Otherwise httpx reads all of the system's certificates each time.
    return httpx.get(url, timeout=60, verify=False)  # noqa: S501 (there is no TLS)


def wait_until(happened: Callable[[], bool], *, seconds: int = PATIENCE) -> None:
    """Wait for what another process does; fail the test if it does not."""
    for _ in range(seconds * 10):
        if happened():
            return
        time.sleep(0.1)
    pytest.fail(f"it did not happen within {seconds} seconds")
