"""Find out whether the cleanup's line is in the crontab. Nothing here writes.

Only one user's crontab on one host can be read. Another user or another host may have the line. And
a line is no proof that cron runs: only the last success is.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from .. import account
from . import config

REPAIR = "manage.py crontab add -v0"

# How Debian's cron, cronie and busybox say that there is no crontab yet.
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
    """Whether the crontab of ``user`` has the cleanup's line.

    ``stale``: the line is there but will not work. ``unknown``: the crontab can't be read.
    ``unscheduled``: no entry of CRONJOBS cleans up, so no line is expected. ``reason`` explains
    ``stale`` and ``unknown``.
    """

    state: State
    user: str
    reason: str | None = None


class Unreadable(Exception):
    """The crontab can't be read."""


class NoProgram(Unreadable):
    """There is no program that reads crontabs."""


def inspect(*, seconds: float = 5) -> Crontab | None:
    """Return whether the cleanup's line is installed; None if django-crontab is not used.

    Runs ``crontab -l`` and waits at most so many seconds for it.
    """
    if not config.is_used():
        return None
    if not config.cleanup_entries():
        return Crontab(State.UNSCHEDULED, user())
    try:
        lines = read(seconds=seconds)
    except Unreadable as error:
        return Crontab(State.UNKNOWN, user(), str(error))
    return judge(lines)


def judge(lines: Iterable[str]) -> Crontab:
    """Return what these lines of a crontab say about the cleanup."""
    ours = {entry.hash: entry.schedule for entry in config.cleanup_entries() if entry.hash}
    lines = list(lines)
    found = [(line, config.hash_in(line)) for line in lines]
    reasons = [_outdated(line, ours[name]) for line, name in found if name in ours]
    if None in reasons:
        return Crontab(State.INSTALLED, user())
    if reasons:
        return Crontab(State.STALE, user(), reasons[0])
    if leftovers(lines):
        return Crontab(State.STALE, user(), "it belongs to an entry that CRONJOBS no longer has")
    return Crontab(State.MISSING, user())


def leftovers(lines: Iterable[str]) -> list[str]:
    """Return the hashes in this project's lines that no entry of CRONJOBS has.

    Such a line fails each time cron runs it.
    """
    known = {entry.hash for entry in config.entries()}
    found = (config.hash_in(line) for line in lines)
    return [name for name in found if name is not None and name not in known]


def _outdated(line: str, schedule: str) -> str | None:
    """Return why a line with the right hash does not work, or None if it does."""
    wanted_fields = schedule.split()
    fields = line.split()[: len(wanted_fields)]
    if fields != wanted_fields:
        return f"it says {' '.join(fields)}, but CRONJOBS says {schedule}"
    started = _STARTED.search(line)
    for path in started.groups() if started else ():
        if path.startswith("/") and not os.path.exists(path):
            return f"{path} does not exist"
    wanted = config.settings_module()
    if wanted and f"--settings={wanted}" not in line.split():
        return f"it lacks --settings={wanted}"
    return None


def read(*, seconds: float = 5) -> list[str]:
    """Return the lines of the crontab that django-crontab edits, if it answers in time.

    Raises NoProgram or Unreadable, with the reason as the message.
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
            timeout=seconds,
            check=False,
        )
    except (FileNotFoundError, NotADirectoryError):
        raise NoProgram(f"there is no program {program}") from None
    except subprocess.TimeoutExpired:
        raise Unreadable(f"{program} -l did not answer within {seconds} seconds") from None
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
    name = account.name()
    return str(os.getuid()) if name is None else name


def _program() -> list[str]:
    program = config.setting("EXECUTABLE", "/usr/bin/crontab")
    try:
        return shlex.split(program) or [program]
    except ValueError:  # quotes that do not close
        return [program]
