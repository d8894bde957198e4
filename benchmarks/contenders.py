"""Who is compared, and how each of them is run on a database of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.databases import temporary


@dataclass(frozen=True)
class Contender:
    """A Django project with one way to blacklist tokens."""

    name: str
    settings: str


OURS = Contender("this app", "benchmarks.settings")
SIMPLEJWT = Contender("simplejwt", "benchmarks.simplejwt_settings")
BOTH = (OURS, SIMPLEJWT)


@dataclass(frozen=True)
class Installation:
    """A contender on a migrated database."""

    contender: Contender
    environment: dict[str, str]

    def run(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Run ``benchmarks.inside.<task>`` in a process of its own; return what it answers."""
        command = [sys.executable, "-m", "benchmarks.inside", task, json.dumps(arguments)]
        done = subprocess.run(command, env=self.environment, check=False, stdout=subprocess.PIPE)
        if done.returncode:
            sys.exit(f"{task} failed for {self.contender.name}; its message is above.")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@contextmanager
def installed(contender: Contender, database: str, **environment: str) -> Iterator[Installation]:
    """Give ``contender`` on a fresh ``database`` (a key of DATABASES), dropped afterwards."""
    with temporary(database) as url:
        variables = {"DJANGO_SETTINGS_MODULE": contender.settings, "DATABASE_URL": url}
        installation = Installation(contender, {**os.environ, **variables, **environment})
        installation.run("migrate")
        yield installation
