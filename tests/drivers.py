"""Run tests with the drivers that are not the default: ``python -m tests.drivers [arguments]``.

psycopg2 on PostgreSQL, mysqlclient on MariaDB, each in a virtual environment in ``var/drivers``
without the default driver. All else in it is linked from the environment that runs this. Without
arguments it runs the tests of what drivers may differ in. mysqlclient is built, which needs a C
compiler, pkg-config and the headers of MariaDB's client (on Debian: gcc, pkg-config, libmariadb-dev
and python3-dev).
"""

import os
import subprocess
import sys
import sysconfig
import threading
from dataclasses import dataclass
from pathlib import Path

from .databases import DATABASES, Run, answers, print_results, tests_in

WORK = Path(__file__).resolve().parent.parent / "var" / "drivers"
TESTS = [
    f"tests/test_{name}.py"
    for name in (
        "batches",
        "cleanup",
        "cleanup_command",
        "cleanup_faults",
        "databases",
        "logins_under_way",
        "outages",
        "pace",
        "races",
        "session_endings",
        "sessions",
    )
]


@dataclass(frozen=True)
class Driver:
    """One that is installed from ``package``, and is used while nothing of ``default`` is there."""

    name: str
    package: str
    module: str
    database: str
    default: tuple[str, ...]

    @property
    def python(self) -> Path:
        return WORK / self.name / "bin" / "python"

    def install(self) -> str:
        """Make the environment; return why that failed, or nothing."""
        if not self.python.exists():
            subprocess.run(
                [sys.executable, "-m", "venv", "--without-pip", WORK / self.name], check=True
            )
        packages = next((WORK / self.name / "lib").glob("*/site-packages"))
        link(Path(sysconfig.get_path("purelib")), packages, leave_out=self.default)
        done = subprocess.run(
            [self.python, "-m", "pip", "install", "--quiet", self.package],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.stderr if done.returncode else ""


DRIVERS = [
    Driver("psycopg2", "psycopg2-binary>=2.9.9", "psycopg2", "PostgreSQL", ("psycopg",)),
    Driver("mysqlclient", "mysqlclient>=2.2.1", "MySQLdb", "MariaDB", ("pymysql", "PyMySQL")),
]


def link(source: Path, target: Path, *, leave_out: tuple[str, ...]) -> None:
    """Let ``target`` have what ``source`` has, but for names that begin so; drop dead links."""
    for entry in target.iterdir():
        if entry.is_symlink() and not entry.exists():
            entry.unlink()
    for entry in source.iterdir():
        if not entry.name.startswith(leave_out) and not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry)


def main(arguments: list[str]) -> bool:
    """Return whether something failed."""
    required = os.environ.get("REQUIRE_DATABASES") == "1"
    runs, lines, failed = [], [], False
    for driver in DRIVERS:
        url = DATABASES[driver.database]
        reason = driver.install() if answers(url) else "no server answers"
        if reason:
            failed |= required
            lines.append(f"{driver.name}: {'FAILED' if required else 'not run'}, {reason}")
            continue
        run = Run(
            driver.name, ["-n2", "--dist", "loadgroup", *tests_in(arguments, default=TESTS)], url
        )
        run.python = str(driver.python)
        # A database of its own, beside the one of `make test`.
        run.environment |= {"DRIVER": driver.module, "DATABASE_URL": f"{url}_{driver.name}"}
        runs.append(run)
    threads = [threading.Thread(target=run.beside_others) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print_results(runs, *lines)
    return failed or any(run.failed for run in runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
