"""Run the tests on all databases at once: ``python -m tests.databases [pytest's arguments]``.

SQLite always; PostgreSQL and MariaDB if a server answers on loopback. With REQUIRE_DATABASES=1 a
server that does not answer is a failure. POSTGRES_URL and MARIADB_URL name other servers. With
THOROUGH=1 it also repeats tests under other circumstances: those marked ``thorough``. With
COVERAGE=1 it counts what the tests reach in ``tokens``, on all databases together.
"""

import os
import random
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from . import driver, failures

DATABASES = {
    "SQLite": "sqlite:///db.sqlite3",
    "PostgreSQL": os.environ.get("POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/tokens"),
    "MariaDB": os.environ.get("MARIADB_URL", "mysql://root@127.0.0.1:3306/tokens"),
}
COVERAGE = os.environ.get("COVERAGE") == "1"
THOROUGH = os.environ.get("THOROUGH") == "1"
NO_TESTS = 5  # pytest's exit code

# Somebody sits in front of the terminal, so the databases take turns.
NEEDS_THE_TERMINAL = {"-n0", "-s", "--capture=no", "--pdb", "--trace"}


def answers(url: str) -> bool:
    """Return whether the server of ``url`` lets us in; SQLite needs none."""
    address = urlsplit(url)
    user, password = address.username or "", address.password or ""
    host, port = address.hostname or "", address.port or 0
    try:
        if address.scheme == "postgres":
            driver.connect_to_postgresql(
                dbname="postgres",
                host=host,
                port=port,
                user=user,
                password=password,
                connect_timeout=3,
            ).close()
        elif address.scheme == "mysql":
            driver.connect_to_mysql(
                host=host, port=port, user=user, password=password, connect_timeout=3
            ).close()
    except driver.Refused:
        return False
    return True


@dataclass
class Run:
    """The tests on one database, or with another ``python`` at another ``url``."""

    name: str
    arguments: list[str]
    url: str = ""
    python: str = sys.executable
    code: int = 0
    closing: str = "pytest did not end"
    written: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = os.environ | {"DATABASE_URL": self.url or DATABASES[self.name]}
        # Or each of the many processes would compile all tests again, as pytest rewrites them.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    @property
    def command(self) -> list[str]:
        program = ["coverage", "run", "-m", "pytest"] if COVERAGE else ["pytest"]
        once = [] if self.name == "SQLite" else ["--skip-any-database"]
        if not THOROUGH and not name_tests(self.arguments):
            once.append("--skip-thorough")
        # Unbuffered, or the terminal would show nothing for minutes.
        return [self.python, "-u", "-m", *program, *once, *self.arguments]

    @property
    def failed(self) -> bool:
        nothing_to_do = self.code == NO_TESTS and self.name != "SQLite"
        return self.code != 0 and not nothing_to_do

    def at_the_terminal(self) -> None:
        print(f"\n== {self.name} ==", flush=True)
        self.code = subprocess.run(self.command, env=self.environment, check=False).returncode
        self.closing = "see above"

    def beside_others(self) -> None:
        """Run, and print each line with the name of the database before it."""
        with subprocess.Popen(
            self.command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child:
            for line in child.stdout or ():
                print(f"{self.name:<10} | {line}", end="", flush=True)
                self.written.append(line.rstrip("\n"))
                if closing := re.fullmatch(r"(?:=+ )?(\d+ .+ in [\d.]+s.*?)(?: =+)?\n", line):
                    self.closing = closing[1]
        self.code = child.returncode


def print_results(runs: list[Run], *others: str) -> None:
    """Print what else there is to say, how each run ended, and the names of what failed.

    The names come last, because a log that is too long loses its beginning.
    """
    for run in runs:
        for title, lines in failures.ends(run.written):
            print(f"\n== {run.name}: the end of {title} ==", *lines, sep="\n")
    for line in others:
        print(line)
    for run in runs:
        print(f"{run.name}: {'FAILED' if run.failed else 'passed'}\n===== {run.closing} =====")
    for run in runs:
        for line in failures.names(run.written):
            print(f"{run.name}: {line}")


def run_all(names: list[str], arguments: list[str]) -> list[Run]:
    """Run the tests on each database, with as many workers as two for each processor, or more."""
    processors = os.cpu_count() or 1
    runs = [
        Run(name, ["--numprocesses", str(number), "--dist", "loadgroup", *arguments])
        for name in names
        for number in [2 * processors if len(names) == 1 else _workers(name, processors)]
    ]
    if NEEDS_THE_TERMINAL.intersection(arguments):
        for run in runs:
            run.at_the_terminal()
        return runs
    threads = [threading.Thread(target=run.beside_others) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return runs


def _workers(name: str, processors: int) -> int:
    """Return how many workers a database gets beside others: SQLite has twice as many tests."""
    return max(2, processors) + (name == "SQLite")


def tests_in(arguments: list[str], *, default: list[str]) -> list[str]:
    """Return pytest's arguments, with the ``default`` tests if they name none."""
    return arguments if name_tests(arguments) else [*arguments, *default]


def name_tests(arguments: list[str]) -> bool:
    """Return whether pytest's arguments name files of tests, or tests."""
    return any(Path(argument.partition("::")[0]).exists() for argument in arguments)


def coverage(*words: str) -> bool:
    """Return whether this subcommand of ``coverage`` succeeded."""
    return subprocess.run([sys.executable, "-m", "coverage", *words], check=False).returncode == 0


def main(arguments: list[str]) -> int:
    began = monotonic()
    there = [name for name, url in DATABASES.items() if answers(url)]
    missing = [name for name in DATABASES if name not in there]
    if not any("randomly" in argument for argument in arguments):
        arguments = [f"--randomly-seed={random.getrandbits(32)}", *arguments]
    if COVERAGE:
        Path("var").mkdir(exist_ok=True)
        coverage("erase")
    runs = run_all(there, arguments)
    failed = any(run.failed for run in runs)
    if COVERAGE:
        failed |= not (coverage("combine", "--quiet") and coverage("report"))
    all_in = " ".join([f"\nAll in {monotonic() - began:.0f} s, with", *arguments])
    required = os.environ.get("REQUIRE_DATABASES") == "1"
    word = "FAILED" if required else "not run"
    print_results(runs, all_in, *(f"{name}: {word}, no server answers" for name in missing))
    return failed or (required and bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
