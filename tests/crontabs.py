"""Crontabs without cron: the lines that django-crontab makes, and a program that shows them."""

import shlex
from pathlib import Path
from typing import Any

from django_crontab.crontab import Crontab


def lines() -> list[str]:
    """Return what ``crontab add`` installs under the present settings."""
    crontab: Any = Crontab(verbosity=0)
    crontab.add_jobs()
    return list(crontab.crontab_lines)


def program(path: Path, *, shows: str = "", says: str = "", code: int = 0) -> str:
    """Write a program to ``path`` that answers ``-l`` like this, and return its path."""
    path.write_text(
        f"""#!/bin/sh
test "$LC_ALL $*" = "C -l" || exit 99
printf %s {shlex.quote(shows)}
printf %s {shlex.quote(says)} >&2
exit {code}
"""
    )
    path.chmod(0o755)
    return str(path)
