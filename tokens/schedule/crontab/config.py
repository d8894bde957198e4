"""The settings for django-crontab, read as it reads them: same defaults, no crashes.

django-crontab is optional, and its own settings object opens files, imports modules and prints.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings

TICK = "tokens.schedule.crontab.tick"

_CALL_COMMAND = "django.core.management.call_command"
_COMMAND = "cleanup_tokens"
_ASK_ONLY = ("check", "dry_run")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of CRONJOBS, split the way django-crontab splits it. Types are not checked."""

    job: Any
    schedule: str
    path: str
    args: Any
    kwargs: Any
    suffix: str

    @property
    def is_tick(self) -> bool:
        """Whether the entry names the tick."""
        return self.path == TICK

    @property
    def reaches_cleanup(self) -> bool:
        """Whether the entry cleans up: the tick, or the command by its name."""
        if self.is_tick:
            command: Any = _COMMAND
        elif self.path == _CALL_COMMAND:
            command = next(iter(self._words), self._options.get("command_name"))
        else:
            return False
        asks = any(_flag(name) in self._words or self._options.get(name) for name in _ASK_ONLY)
        return command == _COMMAND and not asks

    @property
    def only_if_due(self) -> bool:
        """Whether the entry cleans up only if that is due."""
        default = self.is_tick
        return bool(self._options.get("if_due", default)) or _flag("if_due") in self._words

    @property
    def hash(self) -> str | None:
        """The job's name in the crontab; None if its arguments can't be written as JSON."""
        try:
            text = json.JSONEncoder(sort_keys=True).encode(self.job)
        except (TypeError, ValueError):
            return None
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    @property
    def _words(self) -> list[Any]:
        return list(self.args) if isinstance(self.args, list | tuple) else []

    @property
    def _options(self) -> dict[str, Any]:
        return self.kwargs if isinstance(self.kwargs, dict) else {}


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def is_used() -> bool:
    """Return whether the project has django-crontab among its apps."""
    return apps.is_installed("django_crontab")


def entries() -> Iterator[Entry]:
    """Yield the entries of CRONJOBS that django-crontab can use."""
    for job in getattr(settings, "CRONJOBS", None) or []:
        if isinstance(job, tuple | list) and len(job) >= 2:
            third = job[2] if len(job) > 2 else []
            old_form = isinstance(third, str)
            yield Entry(
                job=job,
                schedule=str(job[0]),
                path=str(job[1]),
                args=[] if old_form else third,
                kwargs=job[3] if len(job) > 3 else {},
                suffix=str(third if old_form else job[4] if len(job) > 4 else ""),
            )


def cleanup_entries() -> list[Entry]:
    """Return the entries of CRONJOBS that clean up."""
    return [entry for entry in entries() if entry.reaches_cleanup]


def setting(name: str, default: str) -> str:
    """Return the setting ``CRONTAB_<name>`` as text, or ``default``."""
    return str(getattr(settings, f"CRONTAB_{name}", default) or "")


def project_name() -> str:
    """Return the name that sets this project's lines apart in a shared crontab."""
    module = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    return setting("DJANGO_PROJECT_NAME", module.split(".")[0])


def marker() -> str:
    """Return the comment that ends each of this project's lines."""
    return setting("COMMENT", f"django-cronjobs for {project_name()}")


def interpreter() -> str:
    """Return the path of the Python that the line starts."""
    return setting("PYTHON_EXECUTABLE", sys.executable or "")


def manage_path() -> str | None:
    """Return the path of manage.py in the line, or None if django-crontab finds none."""
    if path := setting("DJANGO_MANAGE_PATH", ""):
        return path
    try:
        spec = find_spec("manage")
    except ValueError:  # a module without a spec
        return None
    return spec.origin if spec else None


def settings_module() -> str:
    """Return the settings module that the line names, or an empty string."""
    return setting("DJANGO_SETTINGS_MODULE", "")


_HASH = re.compile(r"\bcrontab run ([0-9a-f]{32})\b")


def hash_in(line: str) -> str | None:
    """Return the job's hash if this crontab line is this project's and active, else None."""
    line = line.strip()
    if line.startswith("#") or not line.endswith(f"# {marker()}".strip()):
        return None
    found = _HASH.search(line)
    return found[1] if found else None
