"""The traps of django-crontab, which reports success even if the job will never run.

All are Warnings, because an Error would stop ``manage.py crontab run`` itself. Every run prints
the Warnings that are not limited to ``--deploy``, and cron mails them; so all but one are. Without
django-crontab in INSTALLED_APPS these checks are silent.
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

from ..schedule import crontab

_ENTRY = 'CRONJOBS = [("7 * * * *", "tokens.schedule.crontab.tick")]'
_GENERIC = {"", "app", "backend", "config", "core", "django", "project", "settings", "site", "src"}
_OTHER_USER = "Only your own crontab can be read: run this check as the user whose cron cleans up."

_JOBS = (["crontab", "run"], ["cleanup_tokens"])


@register(Tags.security)
def check_cronjobs(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if django-crontab is installed but does not clean up."""
    if not crontab.is_used() or crontab.cleanup_entries() or _runs_from_a_schedule():
        return []
    return [
        checks.Warning(
            "django_crontab is installed, but no entry of CRONJOBS cleans up.",
            hint=f"Add to the settings: {_ENTRY}, then run: python manage.py crontab add -v0."
            " If something else starts cleanup_tokens, set"
            ' SILENCED_SYSTEM_CHECKS = ["tokens.W020"].',
            id="tokens.W020",
        )
    ]


def _entries() -> list[crontab.Entry]:
    return crontab.cleanup_entries() if crontab.is_used() else []


def _runs_from_a_schedule() -> bool:
    """Return whether this process is a job: cron would mail the Warning after each run."""
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


def _schedule(entry: crontab.Entry) -> Iterator[CheckMessage]:
    if len(entry.schedule.split()) != 5:
        yield checks.Warning(
            f"The schedule {entry.schedule!r} in CRONJOBS does not have five fields: `crontab add`"
            " crashes on its own line and removes it, or cron silently refuses the line.",
            hint='Write, for example: "7 * * * *"',
            id="tokens.W021",
        )


def _too_rare(entry: crontab.Entry) -> Iterator[CheckMessage]:
    fields = entry.schedule.split()
    if entry.only_if_due and fields[1:] not in (["*"] * 4, ["*/1", "*", "*", "*"]):
        yield checks.Warning(
            f"The schedule {entry.schedule!r} in CRONJOBS runs less often than hourly. If the"
            " cleanup is not quite due at that time, it is skipped until the next one.",
            hint='Write "7 * * * *": TOKENS_CLEANUP_INTERVAL decides how often it cleans up.',
            id="tokens.W022",
        )


_SPECIAL = re.compile(r"(?<!\\)%|#")


def _suffix(entry: crontab.Entry) -> Iterator[CheckMessage]:
    return _breaks_the_line("The suffix of the entry in CRONJOBS", entry.suffix)


def _breaks_the_line(what: str, text: str) -> Iterator[CheckMessage]:
    if found := _SPECIAL.search(text):
        effect = {
            "%": "cron reads it as the end of the line",
            "#": "django-crontab no longer recognizes its own line, and adds another each time",
        }
        yield checks.Warning(
            f"{what} contains {found[0]!r}: {effect[found[0]]}.",
            hint="Move the command into a script, or let LOGGING write the file.",
            id="tokens.W023",
        )


def _arguments(entry: crontab.Entry) -> Iterator[CheckMessage]:
    if not isinstance(entry.kwargs, dict):
        problem = f"takes the fourth item, {entry.kwargs!r}, for keyword arguments"
    elif not isinstance(entry.args, list | tuple):
        problem = f"takes the third item, {entry.args!r}, for positional arguments"
    elif entry.is_tick and entry.args:
        problem = f"passes the positional arguments {entry.args!r} to the tick, which takes none"
    elif entry.hash is None:
        problem = "can't name the job, because its arguments can't be written as JSON"
    else:
        return
    yield checks.Warning(
        f"django-crontab {problem}, so the job never runs and nobody is told.",
        hint='Write: ("7 * * * *", "tokens.schedule.crontab.tick", [], {"max_seconds": 600},'
        ' "the suffix")',
        id="tokens.W024",
    )


def _hides_failures(entry: crontab.Entry) -> Iterator[CheckMessage]:
    if not entry.is_tick:
        yield checks.Warning(
            "CRONJOBS starts cleanup_tokens through call_command. If it fails, django-crontab still"
            " exits with 0, and if it succeeds, cron mails its output.",
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
    name = crontab.settings_module()
    if not name:
        problem = (
            "is not set. cron passes no environment, so the job uses the settings that manage.py"
            " names, and maybe another database."
        )
    elif not _is_module(name):
        problem = f"names {name!r}, which can't be imported: every tick fails."
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
    except (ImportError, ValueError):  # A parent package is missing, or the name is malformed.
        return False


def _project_name() -> Iterator[CheckMessage]:
    if crontab.setting("COMMENT", ""):
        return
    name = crontab.setting("DJANGO_PROJECT_NAME", "")
    if name.lower() in _GENERIC:
        problem = f"is {name!r}, a name that many projects use" if name else "is not set"
        yield checks.Warning(
            f"CRONTAB_DJANGO_PROJECT_NAME {problem}. If two projects, or two installations of one,"
            " share this name and a user, they delete each other's lines.",
            hint='Set, for example, CRONTAB_DJANGO_PROJECT_NAME = "shop-production"',
            id="tokens.W027",
        )


def _lock() -> Iterator[CheckMessage]:
    if crontab.setting("LOCK_JOBS", ""):
        yield checks.Warning(
            "CRONTAB_LOCK_JOBS is on. Its lock is a file that any user of the host can hold. While"
            " it is held, the job is skipped with exit code 0.",
            hint="Remove it: the cleanup has its own lock, which works across hosts.",
            id="tokens.W028",
        )


def _paths() -> Iterator[CheckMessage]:
    for name, path in {
        "CRONTAB_PYTHON_EXECUTABLE": crontab.interpreter(),
        "CRONTAB_DJANGO_MANAGE_PATH": crontab.manage_path(),
    }.items():
        if not path:
            problem = f"{name} is not set, and no default is found"
        elif "%" in path or shlex.quote(path) != path:
            problem = f"{path!r} has a character that breaks the line, which quotes nothing"
        elif not os.path.isabs(path):
            problem = f"cron starts in the home directory, and {path!r} is relative"
        elif not os.path.exists(path):
            problem = f"{path!r} does not exist"
        else:
            continue
        yield checks.Warning(
            f"The line in the crontab will not work: {problem}.",
            hint=f"Set {name} to an absolute path without spaces, quotes, % or #."
            " A symbolic link will do.",
            id="tokens.W029",
        )


def _around() -> Iterator[CheckMessage]:
    for name in ("COMMAND_PREFIX", "COMMAND_SUFFIX"):
        yield from _breaks_the_line(f"CRONTAB_{name}", crontab.setting(name, ""))


@register(Tags.security, deploy=True)
def check_crontab(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if the cleanup's line is not in the crontab, or will not work."""
    if not _entries():
        return []
    if sys.platform == "win32":
        return [
            checks.Warning(
                "django-crontab does not work on Windows.",
                hint="Use the Task Scheduler: python manage.py cleanup_tokens --print-schedule"
                " windows",
                id="tokens.W030",
            )
        ]
    try:
        lines = crontab.read()
    except crontab.NoProgram as error:
        return [
            checks.Warning(
                f"The crontab can't be read: {error}. `crontab add` does not report that.",
                hint="Install cron, or set CRONTAB_EXECUTABLE to the path of `crontab`.",
                id="tokens.W031",
            )
        ]
    except crontab.Unreadable as error:
        return [
            checks.Warning(
                f"The crontab can't be read: {error}. `crontab add` would take it for empty and"
                " overwrite it.",
                hint="Fix that before running: python manage.py crontab add -v0",
                id="tokens.W032",
            )
        ]
    return list(_line(lines))


def _line(lines: list[str]) -> Iterator[CheckMessage]:
    found = crontab.judge(lines)
    hint = f"Run as {found.user}: python {crontab.REPAIR}. {_OTHER_USER}"
    if found.state is crontab.State.MISSING:
        yield checks.Warning(
            f"The crontab of {found.user} has no line for the cleanup.",
            hint=hint,
            id="tokens.W033",
        )
    elif found.state is crontab.State.STALE:
        yield checks.Warning(
            f"The cleanup's line in the crontab of {found.user} is stale: {found.reason}.",
            hint=hint,
            id="tokens.W034",
        )
    elif crontab.leftovers(lines):
        yield checks.Warning(
            f"The crontab of {found.user} has lines of this project whose jobs are no longer in"
            " CRONJOBS. They fail each time.",
            hint=hint,
            id="tokens.W035",
        )
