"""Who is compared, and how each of them is run on a database of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.databases import copied, temporary


@dataclass(frozen=True)
class Contender:
    """A Django project with one way to store tokens."""

    name: str
    settings: str


OURS = Contender("this app", "benchmarks.settings")
SIMPLEJWT = Contender("simplejwt", "benchmarks.simplejwt_settings")
PLAIN = Contender("simplejwt alone", "benchmarks.plain_settings")
OAUTH = Contender("django-oauth-toolkit", "benchmarks.oauth_settings")
CHECKS = Contender("this app", "benchmarks.checks_settings")
ADMIN = Contender("this app", "benchmarks.admin_settings")
BOTH = (OURS, SIMPLEJWT)


@dataclass(frozen=True)
class Installation:
    """A contender on a migrated database."""

    contender: Contender
    environment: dict[str, str]

    database: str

    def run(self, task: str, *, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Run ``benchmarks.inside.<task>`` in a process of its own; return what it answers.

        Raises subprocess.TimeoutExpired after ``timeout`` seconds; the process is ended then.
        """
        with self.start(task, **arguments) as answer:
            return answer(timeout)

    @contextmanager
    def start(
        self, task: str, **arguments: Any
    ) -> Iterator[Callable[[float | None], dict[str, Any]]]:
        """Start the task, and give the function that waits for its answer."""
        command = [sys.executable, "-m", "benchmarks.inside", task, json.dumps(arguments)]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE) as process:

            def answer(timeout: float | None = None) -> dict[str, Any]:
                output, _ = process.communicate(timeout=timeout)
                if process.returncode:
                    sys.exit(f"{task} failed for {self.contender.name}; its message is above.")
                found: dict[str, Any] = json.loads(output)
                return found

            try:
                yield answer
            finally:
                if process.poll() is None:
                    process.kill()

    def having(self, **environment: str) -> "Installation":
        """Return the same installation with more in the environment of its processes."""
        return replace(self, environment=self.environment | environment)

    @contextmanager
    def copy(self) -> Iterator["Installation"]:
        """Give the same contender on a copy of the database, dropped afterwards."""
        with copied(self.database, self.environment["DATABASE_URL"]) as url:
            environment = self.environment | {"DATABASE_URL": url}
            yield Installation(self.contender, environment, self.database)


@contextmanager
def installed(contender: Contender, database: str, **environment: str) -> Iterator[Installation]:
    """Give ``contender`` on a fresh ``database`` (a key of DATABASES), dropped afterwards."""
    with temporary(database) as url:
        variables = {"DJANGO_SETTINGS_MODULE": contender.settings, "DATABASE_URL": url}
        installation = Installation(contender, {**os.environ, **variables, **environment}, database)
        installation.run("migrate")
        yield installation
