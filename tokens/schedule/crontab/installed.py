"""Ask whether the line of the cleanup is in the crontab. Nothing here writes.

Only the crontab of one user on one host can be read: another user, or another host, may well have
the line. And a line is not a daemon: only the last success proves that cron runs.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from . import entries as cronjobs

REPAIR = "manage.py crontab add -v0"

_SECONDS = 5

# What Debian's cron and cronie say, and busybox: there is no crontab yet.
_EMPTY = re.compile(r"no crontab for|can't open '[^']*': No such file", re.IGNORECASE)


# The interpreter and manage.py.
_STARTED = re.compile(r"(\S+) (\S+) crontab run ")


class State(StrEnum):
    INSTALLED = "installed"
    MISSING = "missing"
    STALE = "stale"
    UNKNOWN = "unknown"
    UNSCHEDULED = "unscheduled"


@dataclass(frozen=True, slots=True)
class Crontab:
    """Whether the crontab of ``user`` has the line of the cleanup.

    ``stale``: it is there, but not as it should be. ``unknown``: the crontab can't be read.
    ``unscheduled``: no entry of CRONJOBS cleans up, so there should be no line. ``reason`` says
    more about ``stale`` and ``unknown``.
    """

    state: State
    user: str
    reason: str | None = None


class Unreadable(Exception):
    """The crontab can't be read."""


class NoProgram(Unreadable):
    """There is no program that reads crontabs."""


def crontab() -> Crontab | None:
    """Return whether the line of the cleanup is installed; None without django-crontab.

    Starts ``crontab -l`` and waits for it, five seconds at most.
    """
    if not cronjobs.is_used():
        return None
    if not cronjobs.cleanup_entries():
        return Crontab(State.UNSCHEDULED, user())
    try:
        lines = read()
    except Unreadable as error:
        return Crontab(State.UNKNOWN, user(), str(error))
    return judge(lines)


def judge(lines: Iterable[str]) -> Crontab:
    """Return what these lines of a crontab say about the cleanup."""
    ours = {entry.hash: entry.schedule for entry in cronjobs.cleanup_entries() if entry.hash}
    lines = list(lines)
    found = [(line, cronjobs.hash_in(line)) for line in lines]
    reasons = [_outdated(line, ours[name]) for line, name in found if name in ours]
    if None in reasons:
        return Crontab(State.INSTALLED, user())
    if reasons:
        return Crontab(State.STALE, user(), reasons[0])
    if drifted(lines):
        return Crontab(State.STALE, user(), "it is of an entry that CRONJOBS no longer has")
    return Crontab(State.MISSING, user())


def drifted(lines: Iterable[str]) -> list[str]:
    """Return the hashes under our marker that no entry of CRONJOBS has: such lines only fail."""
    known = {entry.hash for entry in cronjobs.entries()}
    found = (cronjobs.hash_in(line) for line in lines)
    return [name for name in found if name is not None and name not in known]


def _outdated(line: str, schedule: str) -> str | None:
    """Return why a line with the right hash does not do its work, or None."""
    wanted_fields = schedule.split()
    fields = line.split()[: len(wanted_fields)]
    if fields != wanted_fields:
        return f"it says {' '.join(fields)} where CRONJOBS says {schedule}"
    started = _STARTED.search(line)
    for path in started.groups() if started else ():
        if path.startswith("/") and not os.path.exists(path):
            return f"{path} does not exist"
    wanted = cronjobs.settings_module()
    if wanted and f"--settings={wanted}" not in line.split():
        return f"it lacks --settings={wanted}"
    return None


def read() -> list[str]:
    """Return the lines of the crontab that django-crontab works on.

    Raises NoProgram or Unreadable, saying why.
    """
    program = shlex.join(_program())
    if sys.platform == "win32":
        raise NoProgram("there is no crontab on Windows")
    try:
        done = subprocess.run(  # noqa: S603  (the project's own setting, and no shell)
            [*_program(), "-l"],
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (FileNotFoundError, NotADirectoryError):
        raise NoProgram(f"there is no program {program}") from None
    except subprocess.TimeoutExpired:
        raise Unreadable(f"{program} -l did not answer within {_SECONDS} seconds") from None
    except OSError as error:
        raise Unreadable(f"{program} -l: {error.strerror}") from None
    if done.returncode == 0:
        return done.stdout.splitlines()
    if _EMPTY.search(done.stderr):
        return []
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    raise Unreadable(f"{program} -l: {said[-1][:200]}")


def user() -> str:
    """Return whose crontab it is."""
    words = _program()
    if "-u" in words[:-1]:
        return words[words.index("-u") + 1]
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:  # Windows
        return os.environ.get("USERNAME", "")
    except KeyError:  # as in containers that run under any number
        return str(os.getuid())


def _program() -> list[str]:
    program = cronjobs.setting("EXECUTABLE", "/usr/bin/crontab")
    try:
        return shlex.split(program) or [program]
    except ValueError:  # quotes that do not close
        return [program]
