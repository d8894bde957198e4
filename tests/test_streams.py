"""Commands whose standard streams are closed, full, broken, or lack characters."""

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper

from tokens.management import writing
from tokens.management.commands import _cleanup_schedule
from tokens.models import BlacklistEntry, CleanupRun, TokenSession
from tokens.schedule import crontab, periodic
from tokens.signals import cleanup_started

from . import streams
from .calling import Terminal
from .conftest import HOUR
from .expiring import IN_A_WHILE, add_entries, add_run, add_sessions
from .processes import PATIENCE, command, environment
from .streams import FAULTS, run

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.any_database,
    pytest.mark.slow,
]

LOST = "{} could not be written to standard output: {}.\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_PATIENCE", 0)


# What a command does, and what it says then.
WORK = {
    "cleanup": (["cleanup_tokens", "-v3"], "Removed 2 expired entries and 0 expired sessions."),
    "JSON": (
        ["cleanup_tokens", "--format=json"],
        "Removed 2 expired entries and 0 expired sessions.",
    ),
    "check": (["cleanup_tokens", "--check"], "Last success: TIME."),
    "revoke": (
        ["revoke_tokens", "--user=ada"],
        "Ended 1 session; the tokens issued to ada until now are refused.",
    ),
    "import": (
        ["import_simplejwt_blacklist"],
        "The database 'default' has no tables of simplejwt's blacklist: nothing to do.",
    ),
    "drop": (
        ["import_simplejwt_blacklist", "--drop", "--wait=0"],
        "There is nothing left of simplejwt's blacklist.",
    ),
}


class Rows:
    """What the commands of these tests remove and end, as often as they do."""

    def __init__(self, user: AbstractUser) -> None:
        self._user = user

    def add(self) -> None:
        BlacklistEntry.objects.all().delete()
        TokenSession.objects.all().delete()
        add_run(ago=HOUR)
        add_entries(2)
        add_sessions(1, ends=IN_A_WHILE)
        TokenSession.objects.update(user_id=self._user.pk)

    def are_done(self, what: str) -> bool:
        if what in ("cleanup", "JSON"):
            return not BlacklistEntry.objects.exists()
        return what != "revoke" or not TokenSession.objects.exists()


@pytest.fixture
def rows(user: AbstractUser) -> Rows:
    rows = Rows(user)
    rows.add()
    return rows


# The result of work that is done


@pytest.mark.parametrize("what", WORK)
def test_work_is_told_elsewhere_and_keeps_its_exit_code(what: str, rows: Rows) -> None:
    arguments, first = WORK[what]
    for stream, reason in FAULTS.values():
        rows.add()
        err = io.StringIO()
        assert run(*arguments, out=stream, err=err) == 0
        said = re.sub(r"20[-: 0-9]+ UTC", "TIME", err.getvalue())
        assert said == LOST.format(f"{first} This", reason)
        assert rows.are_done(what)


@pytest.mark.parametrize("what", WORK)
def test_a_caller_s_stream_stops_nothing_either(what: str, rows: Rows) -> None:
    (name, *arguments), first = WORK[what]
    for stream, reason in FAULTS.values():
        rows.add()
        err = io.StringIO()
        with stream() as opened:
            if opened is None:
                continue
            call_command(name, *arguments, stdout=opened, stderr=err, skip_checks=True)
        said = re.sub(r"20[-: 0-9]+ UTC", "TIME", err.getvalue())
        assert said == LOST.format(f"{first} This", reason)
        assert rows.are_done(what)


@pytest.mark.parametrize("what", WORK)
def test_with_nothing_to_write_to_the_work_is_done_all_the_same(what: str, rows: Rows) -> None:
    for stream, _ in FAULTS.values():
        rows.add()
        assert run(*WORK[what][0], out=stream, err=stream) == 0
        assert rows.are_done(what)


# Complaints


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["cleanup_tokens", "--max-seconds=0.000001"], 3),
        (["cleanup_tokens", "--pause=x"], 2),
        (["cleanup_tokens", "--unknown"], 2),
        (["cleanup_tokens", "--check"], 1),
        (["revoke_tokens"], 2),
        (["import_simplejwt_blacklist", "--wait=1"], 2),
    ],
    ids=["rows left", "wrong", "unknown", "overdue", "revoke", "import"],
)
def test_a_complaint_that_nobody_hears_keeps_its_exit_code(arguments: Any, code: int) -> None:
    add_entries(2, ends=timedelta(days=-9))
    add_run(ago=timedelta(days=9))
    said = {name: run(*arguments, err=stream) for name, (stream, _) in FAULTS.items()}
    assert said == dict.fromkeys(FAULTS, code)
    said = {name: run(*arguments, out=it, err=it) for name, (it, _) in FAULTS.items()}
    assert said == dict.fromkeys(FAULTS, code)


@pytest.mark.parametrize(
    "arguments", [["cleanup_tokens"], ["revoke_tokens", "--all-users", "--no-input"]]
)
@pytest.mark.usefixtures("rows")
def test_a_progress_bar_stops_nothing(arguments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullTerminal(Terminal):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    out = io.StringIO()
    assert run(*arguments, out=out, err=FullTerminal()) == 0
    assert out.getvalue().count("\n") == 1


@pytest.mark.usefixtures("rows")
def test_a_progress_bar_is_as_wide_as_its_terminal() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    with os.fdopen(theirs, "w") as err:
        assert run("cleanup_tokens", "--batch-size=1", out=io.StringIO(), err=err) == 0
    bars = streams.read_terminal(ours).strip("\r").split("\r")
    assert bars[0].startswith("Removing:   0%")
    assert max(map(len, bars)) <= 40
    assert not bars[-1].strip()  # Wiped out in the end.


@pytest.fixture
def log() -> Iterator[Callable[[Any], object]]:
    """Let our log write to a stream, also what is INFO."""
    logger = logging.getLogger("tokens")
    handler = logging.StreamHandler(None)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda stream: setattr(handler, "stream", stream)
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_a_log_stops_nothing(log: Any, rows: Rows) -> None:
    for stream, _ in FAULTS.values():
        rows.add()
        out = io.StringIO()
        with stream() as err:
            log(err)
            assert run("cleanup_tokens", out=out, err=err or streams.gone) == 0
        assert out.getvalue() == "Removed 2 expired entries and 0 expired sessions.\n"


@pytest.mark.usefixtures("rows")
def test_a_log_whose_stream_is_closed_meanwhile_stops_nothing(log: Any) -> None:
    out, err = io.StringIO(), io.StringIO()
    log(err)

    def close(**_more: Any) -> None:
        err.close()

    cleanup_started.connect(close)
    try:
        assert run("cleanup_tokens", out=out, err=err) == 0
    finally:
        cleanup_started.disconnect(close)
    assert out.getvalue() == "Removed 2 expired entries and 0 expired sessions.\n"


def test_what_others_left_in_a_buffer_does_not_change_the_exit_code() -> None:
    for name in ("full", "broken pipe"):
        with FAULTS[name][0]() as out, FAULTS[name][0]() as err:
            out.write("from the settings")
            err.write("without an end")
            assert run("cleanup_tokens", out=out, err=err) == 0
            # It is the stream that it was.
            with pytest.raises(OSError, match=r"No space left|Broken pipe"):
                os.write(out.fileno(), b"later")


# A result that is all that was asked for


ASKED = {
    "schedule": ["cleanup_tokens", "--print-schedule=systemd"],
    "schedule as JSON": ["cleanup_tokens", "--print-schedule=crontab", "--format=json"],
    "dry run": ["cleanup_tokens", "--dry-run"],
    "revoke": ["revoke_tokens", "--user=ada", "--dry-run"],
    "import": ["import_simplejwt_blacklist", "--dry-run"],
}


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("what", ASKED)
def test_a_result_that_was_asked_for_and_is_lost_is_a_failure(what: str) -> None:
    for stream, reason in FAULTS.values():
        err = io.StringIO()
        # Who has closed the pipe had enough of it.
        code = 0 if reason == "Broken pipe" else 1
        assert run(*ASKED[what], out=stream, err=err) == code
        assert err.getvalue().removeprefix("CommandError: ") == LOST.format("The result", reason)


def test_a_schedule_is_written_as_it_is_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = {"crontab": lambda project: "cd /srv/żółw\n"}
    monkeypatch.setattr(_cleanup_schedule, "PIECES", pieces)
    schedule = ["cleanup_tokens", "--print-schedule=crontab"]
    err = io.StringIO()
    written = io.BytesIO()
    out = io.TextIOWrapper(written, "latin-1")
    assert run(*schedule, out=out, err=err) == 1
    assert err.getvalue() == (
        "CommandError: The result could not be written to standard output:"
        " the encoding latin-1 lacks '\\u017c'.\n"
    )
    assert written.getvalue() == b""
    assert run(*schedule, "--format=json", out=out) == 0
    assert json.loads(written.getvalue())["schedule"] == "cd /srv/żółw\n"


# Encodings


class Speechless(io.StringIO):
    """It has no encoding, and lacks characters."""

    def write(self, text: str) -> int:
        text.encode("ascii")
        return super().write(text)


def encoded(encoding: str, **more: Any) -> Any:
    return io.TextIOWrapper(io.BytesIO(), encoding, **more)


ENCODINGS: dict[str, Any] = {
    "ascii": lambda: encoded("ascii"),
    "C locale": lambda: encoded("ascii", errors="surrogateescape"),
    "latin-1": lambda: encoded("latin-1"),
    "de_DE": lambda: encoded("iso8859-1"),
    "cp1252": lambda: encoded("cp1252"),
    "cp1250": lambda: encoded("cp1250"),
    "utf-8": lambda: encoded("utf-8"),
    "utf-8-sig": lambda: encoded("utf-8-sig"),
    "utf-16": lambda: encoded("utf-16"),
    "cp037": lambda: encoded("cp037"),
    "none": io.StringIO,
    "speechless": Speechless,
}


def read(stream: Any) -> str:
    if isinstance(stream, io.StringIO):
        return stream.getvalue()
    stream.flush()
    return str(stream.buffer.getvalue().decode(stream.encoding))


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "JSON"])
def test_characters_that_are_lacking_are_shown_as_escapes(
    as_json: bool, make_user: Callable[..., AbstractUser]
) -> None:
    user = make_user("Żółw")
    options = ["--format=json"] if as_json else []
    for name, make in ENCODINGS.items():
        add_sessions(1, ends=IN_A_WHILE)
        TokenSession.objects.update(user_id=user.pk)
        out = make()
        assert run("revoke_tokens", "--user=Żółw", *options, out=out) == 0
        assert not TokenSession.objects.exists()
        said = read(out)
        if as_json:
            assert json.loads(said)["subject"] == str(user.pk)
            continue
        lacking = {"none": "utf-8", "speechless": "ascii"}.get(name, getattr(out, "encoding", ""))
        shown = "Żółw".encode(lacking, "backslashreplace").decode(lacking)
        assert said == f"Ended 1 session; the tokens issued to {shown} until now are refused.\n"


def test_a_complaint_shows_them_as_well() -> None:
    for make in ENCODINGS.values():
        err = make()
        assert run("revoke_tokens", "--user=\N{TURTLE}", err=err) == 2
        lacking = getattr(err, "encoding", None) or (
            "ascii" if isinstance(err, Speechless) else "utf-8"
        )
        shown = "\N{TURTLE}".encode(lacking, "backslashreplace").decode(lacking)
        assert read(err) == f"CommandError: There is no user '{shown}'.\n"


def test_names_show_what_would_look_like_something_else(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(user), "get_username", lambda self: "a\udcff\x1b[2J\n\u202eb")
    for make in ENCODINGS.values():
        out = make()
        assert run("revoke_tokens", f"--user=id:{user.pk}", "--dry-run", out=out) == 0
        assert r" a\udcff\x1b[2J\n\u202eb " in read(out)


@pytest.mark.parametrize("encoding", ["unheard-of", 7, None])
def test_an_encoding_that_does_not_exist_is_none(encoding: Any) -> None:
    class Odd(io.StringIO):
        pass

    Odd.encoding = encoding  # type: ignore[misc]
    out = Odd()
    assert run("cleanup_tokens", out=out) == 0
    assert out.getvalue() == "Nothing to remove.\n"


# Other streams


class Bare:
    """All that a stream must have."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def write(self, text: str) -> None:
        self.said.append(text)


def test_a_stream_needs_nothing_but_write() -> None:
    out, err = Bare(), Bare()
    assert run("cleanup_tokens", out=out, err=err) == 0
    assert run("cleanup_tokens", "--pause=x", out=out, err=err) == 2
    assert out.said == ["Nothing to remove.\n"]
    assert "".join(err.said).count("\n") == 1


def test_the_streams_of_another_command_are_used_as_they_are() -> None:
    inner = io.StringIO()
    call_command("cleanup_tokens", stdout=OutputWrapper(OutputWrapper(inner)))
    assert inner.getvalue() == "Nothing to remove.\n"


class Recorder(io.RawIOBase):
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written.append(bytes(data))
        return len(data)


def test_a_result_is_written_at_once_after_what_came_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schedule = "# a line\n" * 5_000
    monkeypatch.setattr(_cleanup_schedule, "PIECES", {"crontab": lambda project: schedule})
    raw = Recorder()
    out = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8")
    out.write("before\n")
    assert run("cleanup_tokens", "--print-schedule=crontab", out=out) == 0
    assert raw.written == [b"before\n", schedule.encode()]


# The question


@pytest.fixture
def two(make_user: Callable[..., AbstractUser]) -> None:
    make_user()
    add_sessions(2, ends=IN_A_WHILE)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("stdin", ["gone", "closed", "closed below", "detached", "no stream"])
def test_without_standard_input_nobody_is_asked(
    stdin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    err = io.StringIO()
    with FAULTS[stdin][0]() as opened:
        monkeypatch.setattr(sys, "stdin", opened)
        assert run("revoke_tokens", "--all-users", err=err) == 2
    assert err.getvalue() == (
        "CommandError: This ends 2 sessions and refuses all tokens of 1 user."
        " Nobody can be asked here, so nothing was changed: add --no-input.\n"
    )
    assert TokenSession.objects.count() == 2


@pytest.mark.usefixtures("two")
def test_who_can_not_be_shown_the_question_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    monkeypatch.setattr("builtins.input", lambda: "yes")
    for stream, _ in FAULTS.values():
        assert run("revoke_tokens", "--all-users", err=stream) == 2
        assert TokenSession.objects.count() == 2


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Type on a terminal that is standard input."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield lambda typed: os.write(ours, typed)
    os.close(ours)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("typed", "code", "left"),
    [(b"yes\n", 0, 0), (b"no\n", 1, 2), (b"\x04", 1, 2), (b"\xff\n", 1, 2)],
    ids=["yes", "no", "end", "not UTF-8"],
)
def test_the_answer_is_read_though_standard_output_is_closed(
    typed: bytes, code: int, left: int, keyboard: Any
) -> None:
    keyboard(typed)
    err = io.StringIO()
    assert run("revoke_tokens", "--all-users", out=streams.gone, err=err) == code
    assert TokenSession.objects.count() == left
    assert "RuntimeError" not in err.getvalue()


# What keeps going, and schedulers


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let ``--every`` run twice; return its waits."""
    waited: list[Any] = []

    def sleep(loop: Any, wait: Any) -> None:
        waited.append(wait)
        CleanupRun.objects.all().delete()
        if len(waited) == 2:
            loop._stop.set()

    monkeypatch.setattr(periodic.Periodic, "_sleep", sleep)
    return waited


def test_every_goes_on_unless_the_reader_has_gone(waits: list[Any]) -> None:
    for stream, reason in FAULTS.values():
        waits.clear()
        CleanupRun.objects.all().delete()
        err = io.StringIO()
        code = run("cleanup_tokens", "--every=2h", out=stream, err=err)
        first, *lines = err.getvalue().splitlines(keepends=True)
        assert first == "Cleaning up every 2 hours. Stop with Ctrl-C.\n"
        if reason == "Broken pipe":
            assert (code, waits) == (1, [])
            assert lines == ["CommandError: Output pipe was closed; stopping.\n"]
        else:
            assert (code, len(waits)) == (0, 2)
            assert lines == 2 * [LOST.format("Nothing to remove. This", reason)]


def test_every_goes_on_though_nobody_hears_it(waits: list[Any]) -> None:
    for stream, _ in FAULTS.values():
        waits.clear()
        CleanupRun.objects.all().delete()
        out = io.StringIO()
        assert run("cleanup_tokens", "--every=2h", out=out, err=stream) == 0
        assert out.getvalue() == 2 * "Nothing to remove.\n"


def test_a_tick_ends_as_its_work_does_whatever_its_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tokens.schedule.crontab.job._fail_the_process", lambda message: None)
    for stream, _ in FAULTS.values():
        add_entries(1)
        CleanupRun.objects.all().delete()
        with stream() as opened, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", opened)
            patch.setattr(sys, "stderr", opened)
            crontab.tick(verbosity=1, skip_checks=True)
            with pytest.raises(CommandError, match="pause must be"):
                crontab.tick(verbosity=1, skip_checks=True, pause="x")
        assert not BlacklistEntry.objects.exists()


# Colors


@pytest.mark.parametrize(
    ("variable", "options", "is_red"),
    [("", [], True), ("1", [], False), ("", ["--no-color"], False)],
    ids=["red", "NO_COLOR", "--no-color"],
)
def test_no_color_is_heeded(
    variable: str, options: Any, is_red: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    monkeypatch.setenv("DJANGO_COLORS", "")
    err = Terminal()
    assert run("cleanup_tokens", "--pause=x", *options, out=Terminal(), err=err) == 2
    assert ("\x1b[" in err.getvalue()) is is_red


# As processes


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">/dev/full 2>/dev/full", ">&- 2>&- <&-"])
def test_a_process_exits_with_the_code_of_its_work(streams: str) -> None:
    add_entries(1)
    script = f"exec {' '.join(command('cleanup_tokens'))} {streams}"
    # The log writes to standard error as well.
    env = environment(LOG_LEVEL="INFO")
    done = subprocess.run(["sh", "-c", script], env=env, timeout=PATIENCE, check=False)
    assert done.returncode == 0
    assert not BlacklistEntry.objects.exists()
