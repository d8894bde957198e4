"""``make demo``, the first command of the README, on a slow machine and where a step goes wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model

from project import demo, demo_server
from tokens import clock
from tokens.keys import key_for
from tokens.models import BlacklistEntry

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).resolve().parent.parent

# Seconds. What httpx waits for an answer if nobody says otherwise, and somewhat more.
LONG = 6
# Longer than the demo once waited for a server or an answer, and than its tokens lived.
LONGER = 11

TROUBLE = """
import os, pathlib, re, socket, sys, time

trouble = os.environ.get("TROUBLE", "").split()

def once(name):
    mark = pathlib.Path(__file__).with_name(name)
    return name in trouble and not mark.exists() and not mark.touch()

for command in ("runserver", "cleanup_tokens"):
    if command in sys.orig_argv and once(command):
        time.sleep(float(os.environ["SLOW_START"]))
if "runserver" in sys.orig_argv and "port" in trouble:
    port = int(sys.orig_argv[-1].partition(":")[2])
    taken = socket.create_server(("127.0.0.1", port))

def middleware(get_response):
    def answer(request):
        if request.path == "/api/token/" and once("login"):
            time.sleep(float(os.environ["SLOW_ANSWER"]))
        if request.path == "/api/me/" and "500" in trouble:
            raise RuntimeError("the disk is full of eels")
        if request.path == "/api/logout/" and "crash" in trouble:
            os._exit(7)
        return get_response(request)
    return answer
"""

SETTINGS = """
import os, sys
MIDDLEWARE += ["sitecustomize.middleware"]
# A hash that is safe takes half as long as a process to start, and a demo makes eight.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if "start" in os.environ.get("TROUBLE", "") and "runserver" in sys.argv:
    raise RuntimeError("no server today")
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the demo in a copy of the project, with troubles, and other changes of environment."""
    for package in ("project", "tokens"):
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "manage.py", tmp_path)
    (tmp_path / "trouble").mkdir()
    (tmp_path / "trouble" / "sitecustomize.py").write_text(TROUBLE)
    with (tmp_path / "project" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)

    def run(*troubles: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        own = {"PYTHONPATH": str(tmp_path / "trouble"), "TROUBLE": " ".join(troubles)}
        return subprocess.run(
            [sys.executable, "-m", "project.demo"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]} | own | changes,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "answer"), [(1, LONG), pytest.param(LONGER, LONGER, marks=pytest.mark.thorough)]
)
def test_it_waits_as_long_as_it_takes_and_asks_its_own_server(
    run: Run, start: int, answer: int
) -> None:
    done = run(
        *("runserver", "login", "cleanup_tokens", "port"),
        SLOW_START=str(start),
        SLOW_ANSWER=str(answer),
        DATABASE_URL="postgres://nobody@127.0.0.1:9/nothing",
        HTTP_PROXY="http://127.0.0.1:9",
        ALLOWED_HOSTS="elsewhere",
        THROTTLE_RATE="1/day",
        LEEWAY="3600",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "blacklist entries: 3; sessions: 1" in done.stdout
    assert "blacklist entries: 2; sessions: 1" in done.stdout
    assert "DATABASE_URL=sqlite:///db.sqlite3 make run" in done.stdout


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("start", ["The server did not start.", "no server today"]),
        ("500", ["GET  /api/me/", "answered 500 instead of 200", "the disk is full of eels"]),
        ("crash", ["The server can't be reached", "ended, with exit code 7"]),
    ],
)
def test_it_fails_and_says_what_the_server_wrote(run: Run, trouble: str, says: list[str]) -> None:
    done = run(trouble)
    assert done.returncode == 1
    assert [text for text in says if text not in done.stderr] == []
    assert "project/demo.py" not in done.stderr, "no traceback of the demo's own"


SERVER = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if "crash" in os.environ["TROUBLE"]:
            os._exit(7)
        print("the disk is full of eels", file=sys.stderr, flush=True)
        self.send_error(500)

if "start" in os.environ["TROUBLE"]:
    raise RuntimeError("no server today")
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
address = "http://127.0.0.1:%s/" % server.server_port
print("Starting development server at", address, flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("start", ["The server did not start.", "no server today"]),
        ("500", ["POST /api/token/", "answered 500 instead of 200", "the disk is full of eels"]),
        ("crash", ["The server can't be reached", "ended, with exit code 7"]),
    ],
)
def test_a_step_that_fails_says_what_the_server_wrote(
    trouble: str, says: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Django, a server starts twenty times as fast."""
    monkeypatch.setattr(demo_server, "command", lambda *_: [sys.executable, "-c", SERVER])
    monkeypatch.setattr(demo, "set_up", lambda _password: None)
    monkeypatch.setattr(demo, "LONG", {"TROUBLE": trouble})
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        demo.main()
    said = str(end.value)
    assert said.startswith("\nThe demo failed. ")
    assert [text for text in says if text not in said] == []


TOKENS = {"access": "a", "refresh": "r"}
ANSWERS = [
    *[(200, TOKENS)] * 3,  # log in
    (200, {}),  # the laptop may
    (200, TOKENS),  # refresh
    (204, None),  # log out
    (401, {}),  # and the laptop may no longer
    (401, {}),
    (200, {}),  # but the phone
    (204, None),
]


def play(answers: list[tuple[int, Any]]) -> None:
    left = list(answers)

    def answer(_request: httpx.Request) -> httpx.Response:
        status, body = left.pop(0)
        return httpx.Response(status, text="" if body is None else json.dumps(body))

    with httpx.Client(base_url="http://api", transport=httpx.MockTransport(answer)) as api:
        demo.log_in_and_out(api, "password")
    assert left == []


def test_it_goes_on_while_each_answer_is_as_it_should_be() -> None:
    play(ANSWERS)


WRONG = [
    (step, wrong)
    for step, (right, _) in enumerate(ANSWERS)
    for wrong in (200, 204, 401, 429, 500)
    if wrong != right
]


@pytest.mark.parametrize(("step", "wrong"), WRONG)
def test_it_fails_at_the_first_answer_with_another_status(step: int, wrong: int) -> None:
    status, body = ANSWERS[step]
    with pytest.raises(demo.Failed, match=rf"answered {wrong} instead of {status}\."):
        play([*ANSWERS[:step], (wrong, body)])


@pytest.mark.parametrize("body", [{}, [], None, "text", {"access": "a"}, {"refresh": "r"}])
@pytest.mark.parametrize("step", [0, 1, 2, 4])
def test_it_fails_at_an_answer_without_tokens(step: int, body: Any) -> None:
    with pytest.raises(demo.Failed, match="without tokens"):
        play([*ANSWERS[:step], (200, body)])


def test_it_fails_if_a_command_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(4)"])
    with pytest.raises(demo.Failed, match=r"manage.py cleanup_tokens exited with 4\."):
        demo.manage("cleanup_tokens")


@pytest.mark.django_db
def test_it_fails_if_the_cleanup_leaves_what_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite's clock, which the entry has, cuts off what is less than a millisecond.
    begun = clock.now() - timedelta(seconds=1)
    BlacklistEntry.objects.create(
        key=key_for("token", "x", issuer=""),
        scope="token",
        subject="x",
        user=get_user_model().objects.create(username="ada"),
        expires_at=begun - timedelta(seconds=2),
    )
    monkeypatch.setattr(demo, "manage", lambda *_: None)
    with pytest.raises(demo.Failed, match="has left an entry"):
        demo.clean_up(begun)
    with pytest.raises(demo.Failed, match="There should be 2 blacklist entries"):
        demo.show_stored(begun, expect=2)
