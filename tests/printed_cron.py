"""The printed file for /etc/cron.d, installed for a while.

It is that of a project in a place with a difficult name, on a database of its own.
"""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .processes import MANAGE, environment


class PrintedCronFile:
    def __init__(self, folder: Path) -> None:
        self._database = folder / "printed.sqlite3"
        self._environment = {"DEBUG": "1", "DATABASE_URL": f"sqlite:///{self._database}"}
        self._project = folder / 'it\'s 100% "mine" $HOME #1 é'
        self._project.mkdir()
        (self._project / "manage.py").symlink_to(MANAGE)
        (self._project / "venv").symlink_to(sys.prefix)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Fill the database, and let cron read the file, with only the minute changed."""
        self._manage("migrate", "-v0")
        self._manage("shell", "-v0", "-c", "from tests.expiring import *; add_entries(3)")
        printed = self._manage("cleanup_tokens", "--print-schedule", "cron.d")
        assert printed.count("\n7 * * * * ") == 1
        variables = "".join(f"{name}={value}\n" for name, value in self._environment.items())
        file = Path(f"/etc/cron.d/tokens-test-{os.getpid()}")
        try:
            file.write_text(variables + printed.replace("\n7 ", "\n* "))
            file.chmod(0o644)
            yield
        finally:
            file.unlink(missing_ok=True)

    def runs(self) -> list[tuple[str, int]]:
        """Return the outcomes of the finished runs, and how many entries each removed."""
        with closing(sqlite3.connect(self._database)) as connection:
            return connection.execute(
                "SELECT outcome, entries_removed FROM tokens_cleanuprun WHERE slot IS NULL"
            ).fetchall()

    def _manage(self, *arguments: str) -> str:
        return subprocess.run(
            ["venv/bin/python", "manage.py", *arguments],
            cwd=self._project,
            env=environment(**self._environment),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
