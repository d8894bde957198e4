"""The traps of django-crontab, which succeeds in silence where nothing will ever run.

All are Warnings, because an Error would stop ``manage.py crontab run`` itself. A Warning that
always shows is printed by every run, and mailed by cron; so all but one show with ``--deploy``
only. Without django-crontab among the apps there is nothing to say.
"""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Tags, register

from ..schedule.crontab import entries as cronjobs
from ..schedule.crontab import installed

_ENTRY = 'CRONJOBS = [("7 * * * *", "tokens.schedule.crontab.tick")]'
_GENERIC = {"", "app", "backend", "config", "core", "django", "project", "settings", "site", "src"}
_OTHER_USER = "Only the crontab of the user who asks can be seen: ask as the one who cleans up."

_JOBS = (["crontab", "run"], ["cleanup_tokens"])


@register(Tags.security)
def check_cronjobs(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if django-crontab is there and does not clean up."""
    if not cronjobs.is_used() or cronjobs.cleanup_entries() or _runs_from_a_schedule():
        return []
    return [
        checks.Warning(
            "django_crontab is installed, but no entry of CRONJOBS cleans up.",
            hint=f"Add to the settings: {_ENTRY}, then type: python manage.py crontab add -v0."
            ' If something else starts cleanup_tokens: SILENCED_SYSTEM_CHECKS = ["tokens.W020"].',
            id="tokens.W020",
        )
    ]


def _entries() -> list[cronjobs.Entry]:
    return cronjobs.cleanup_entries() if cronjobs.is_used() else []


def _runs_from_a_schedule() -> bool:
    """Return whether this process is a job, whose standard error would be mailed each time."""
    return any(sys.argv[1 : 1 + len(words)] == words for words in _JOBS)


@register(Tags.security, deploy=True)
def check_entries(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each trap in the entries of CRONJOBS that clean up."""
    return [
        found
        for entry in _entries()
        for trap in (_schedule, _too_rare, _suffix, _arguments, _hides_failures)
        for found in trap(entry)
    ]


def _schedule(entry: cronjobs.Entry) -> Iterator[CheckMessage]:
    if len(entry.schedule.split()) != 5:
        yield checks.Warning(
            f"The schedule {entry.schedule!r} in CRONJOBS has not five fields: `crontab add`"
            " crashes on its own line and removes it, or cron refuses the line in silence.",
            hint='Write, for example: "7 * * * *"',
            id="tokens.W021",
        )


def _too_rare(entry: cronjobs.Entry) -> Iterator[CheckMessage]:
    fields = entry.schedule.split()
    if entry.only_if_due and fields[1:] not in (["*"] * 4, ["*/1", "*", "*", "*"]):
        yield checks.Warning(
            f"The schedule {entry.schedule!r} in CRONJOBS asks less often than every hour whether"
            " the cleanup is due: what comes a moment too early is left to the next time.",
            hint='Write "7 * * * *". TOKENS_CLEANUP_INTERVAL decides how often it cleans up.',
            id="tokens.W022",
        )


_SPECIAL = re.compile(r"(?<!\\)%|#")


def _suffix(entry: cronjobs.Entry) -> Iterator[CheckMessage]:
    return _breaks_the_line("The suffix of the entry in CRONJOBS", entry.suffix)


def _breaks_the_line(what: str, text: str) -> Iterator[CheckMessage]:
    if found := _SPECIAL.search(text):
        effect = {
            "%": "cron reads it as the end of the line",
            "#": "django-crontab no longer knows its own line, and adds one more each time",
        }
        yield checks.Warning(
            f"{what} contains {found[0]!r}: {effect[found[0]]}.",
            hint="Put the command into a script without it, or let LOGGING write the file.",
            id="tokens.W023",
        )


def _arguments(entry: cronjobs.Entry) -> Iterator[CheckMessage]:
    if not isinstance(entry.kwargs, dict):
        problem = f"takes {entry.kwargs!r} in the fourth place for keyword arguments"
    elif not isinstance(entry.args, list | tuple):
        problem = f"takes {entry.args!r} in the third place for positional arguments"
    elif entry.is_tick and entry.args:
        problem = f"gives the tick the positional arguments {entry.args!r}, which it does not take"
    elif entry.hash is None:
        problem = "can't name the job: its arguments are no JSON"
    else:
        return
    yield checks.Warning(
        f"django-crontab {problem}, so the job never runs, and nobody is told.",
        hint='Write: ("7 * * * *", "tokens.schedule.crontab.tick", [], {"max_seconds": 600},'
        ' "the suffix")',
        id="tokens.W024",
    )


def _hides_failures(entry: cronjobs.Entry) -> Iterator[CheckMessage]:
    if not entry.is_tick:
        yield checks.Warning(
            "CRONJOBS starts cleanup_tokens by call_command: when it fails, django-crontab exits"
            " with 0 all the same, and when it works, cron mails what it says.",
            hint=f"Write: {_ENTRY}",
            id="tokens.W025",
        )


@register(Tags.security, deploy=True)
def check_crontab_settings(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each trap in the CRONTAB settings."""
    if not _entries():
        return []
    traps: tuple[Callable[[], Iterator[CheckMessage]], ...]
    traps = (_settings_module, _project_name, _lock, _paths, _around)
    return [found for trap in traps for found in trap()]


def _settings_module() -> Iterator[CheckMessage]:
    name = cronjobs.settings_module()
    if not name:
        problem = (
            "is not set. cron passes no environment, so the job runs with the settings that"
            " manage.py names, maybe on another database."
        )
    elif not _is_module(name):
        problem = f"names {name!r}, which can't be imported: each tick fails."
    else:
        return
    here = os.environ.get("DJANGO_SETTINGS_MODULE", "shop.settings")
    yield checks.Warning(
        f"CRONTAB_DJANGO_SETTINGS_MODULE {problem}",
        hint=f'Set CRONTAB_DJANGO_SETTINGS_MODULE = "{here}"',
        id="tokens.W026",
    )


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # of a package above it, or of a name that is none
        return False


def _project_name() -> Iterator[CheckMessage]:
    if cronjobs.setting("COMMENT", ""):
        return
    name = cronjobs.setting("DJANGO_PROJECT_NAME", "")
    if name.lower() in _GENERIC:
        problem = f"is {name!r}, as in many projects" if name else "is not set"
        yield checks.Warning(
            f"CRONTAB_DJANGO_PROJECT_NAME {problem}. Two projects, or two installations of one,"
            " that share this name and a user delete each other's lines.",
            hint='Set, for example, CRONTAB_DJANGO_PROJECT_NAME = "shop-production"',
            id="tokens.W027",
        )


def _lock() -> Iterator[CheckMessage]:
    if cronjobs.setting("LOCK_JOBS", ""):
        yield checks.Warning(
            "CRONTAB_LOCK_JOBS is on. Its lock is a file that every user of the host can hold:"
            " then the job is skipped, with exit code 0.",
            hint="Remove it: the cleanup has a lock of its own, which works across hosts.",
            id="tokens.W028",
        )


def _paths() -> Iterator[CheckMessage]:
    for name, path in {
        "CRONTAB_PYTHON_EXECUTABLE": cronjobs.interpreter(),
        "CRONTAB_DJANGO_MANAGE_PATH": cronjobs.manage_path(),
    }.items():
        if not path:
            problem = f"{name} is not set, and nothing is found in its place"
        elif "%" in path or shlex.quote(path) != path:
            problem = f"{path!r} has a character that breaks the line, where nothing is quoted"
        elif not os.path.isabs(path):
            problem = f"cron starts in the home directory, and {path!r} is relative"
        elif not os.path.exists(path):
            problem = f"{path!r} does not exist"
        else:
            continue
        yield checks.Warning(
            f"The line in the crontab will not work: {problem}.",
            hint=f"Set {name} to an absolute path without spaces, quotes, % and #;"
            " a symbolic link will do.",
            id="tokens.W029",
        )


def _around() -> Iterator[CheckMessage]:
    for name in ("COMMAND_PREFIX", "COMMAND_SUFFIX"):
        yield from _breaks_the_line(f"CRONTAB_{name}", cronjobs.setting(name, ""))


@register(Tags.security, deploy=True)
def check_crontab(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if the line of the cleanup is not in the crontab as it should be."""
    if not _entries():
        return []
    if sys.platform == "win32":
        return [
            checks.Warning(
                "django-crontab does not work on Windows.",
                hint="Let the Task Scheduler start: python manage.py cleanup_tokens --if-due",
                id="tokens.W030",
            )
        ]
    try:
        lines = installed.read()
    except installed.NoProgram as error:
        return [
            checks.Warning(
                f"The crontab can't be read: {error}. `crontab add` says nothing about it.",
                hint="Install cron, or set CRONTAB_EXECUTABLE to where its crontab is.",
                id="tokens.W031",
            )
        ]
    except installed.Unreadable as error:
        return [
            checks.Warning(
                f"The crontab can't be read: {error}. `crontab add` would take it for empty, and"
                " overwrite it.",
                hint="Mend that before you type: python manage.py crontab add -v0",
                id="tokens.W032",
            )
        ]
    return list(_line(lines))


def _line(lines: list[str]) -> Iterator[CheckMessage]:
    found = installed.judge(lines)
    hint = f"Type as {found.user}: python {installed.REPAIR}. {_OTHER_USER}"
    if found.state is installed.State.MISSING:
        yield checks.Warning(
            f"The crontab of {found.user} has no line for the cleanup.",
            hint=hint,
            id="tokens.W033",
        )
    elif found.state is installed.State.STALE:
        yield checks.Warning(
            f"The line for the cleanup in the crontab of {found.user} is stale: {found.reason}.",
            hint=hint,
            id="tokens.W034",
        )
    elif installed.drifted(lines):
        yield checks.Warning(
            f"The crontab of {found.user} has lines of this project that CRONJOBS no longer has.",
            hint=hint,
            id="tokens.W034",
        )
