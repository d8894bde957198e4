"""Newer servers than this machine has: ``python -m tests.chroot mysql|postgresql [arguments]``.

Debian's sid has a current MySQL and PostgreSQL. debootstrap unpacks them into ``var/sid`` from the
mirror that apt uses, nothing of which is installed or configured; the next run finds it there. The
server runs inside by chroot as nobody, on a free port of loopback, and ends with the tests. That
needs root. If it can't be had, it says why and exits with 0, or with 1 if REQUIRE_DATABASES=1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from . import driver
from .databases import Run, print_results, tests_in
from .private_server import Private
from .private_servers import MariaDB, Postgres

ROOT = Path(__file__).resolve().parent.parent / "var" / "sid"
PACKAGES = "mysql-server-core,postgresql"
LONGEST = 300  # seconds, for a program
NOBODY = 65534
AS_NOBODY = f"setpriv --pdeathsig KILL --reuid {NOBODY} --regid {NOBODY} --clear-groups"

# What to test if no arguments say so: what differs between databases and between their versions.
CORE = [
    f"tests/test_{name}.py"
    for name in (
        "api",
        "batches",
        "blacklist",
        "cleanup",
        "cleanup_faults",
        "clock",
        "databases",
        "logins_under_way",
        "orders",
        "outages",
        "pace",
        "races",
        "session_endings",
        "sessions",
        "snapshot",
    )
]


class NotToBeHad(Exception):
    """The reason why there is no such server."""


def make_root() -> None:
    """Unpack the servers into ROOT, unless they are there; raise NotToBeHad."""
    done = ROOT / "unpacked"
    if done.exists() and done.read_text() == PACKAGES:
        return
    if os.geteuid() != 0:
        raise NotToBeHad("it needs root")
    if shutil.which("debootstrap") is None:
        raise NotToBeHad("it needs debootstrap")
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    minimal = "--foreign", "--variant=minbase", f"--include={PACKAGES}"
    _call("debootstrap", *minimal, "sid", ROOT, mirror())
    archives = ROOT / "var" / "cache" / "apt" / "archives"
    for archive in sorted(archives.glob("*.deb")):
        _call("dpkg-deb", "-x", archive, ROOT)
        archive.unlink()
    # initdb asks who it is.
    (ROOT / "etc" / "passwd").write_text(f"nobody:x:{NOBODY}:{NOBODY}::/tmp:/bin/sh\n")
    done.write_text(PACKAGES)


def _call(*command: object) -> None:
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"{words[0]} took longer than {LONGEST} s") from None
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise NotToBeHad(f"{words[0]} failed: {' / '.join(last)}")


def mirror() -> str:
    """Return where this machine's apt gets Debian from."""
    asked = "apt-get", "indextargets", "--format", "$(LABEL) $(COMPONENT) $(REPO_URI)"
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotToBeHad(f"apt does not say where its packages are: {error}") from error
    for line in found.splitlines():
        label, component, uri = line.rsplit(" ", 2)
        if (label, component) == ("Debian", "main"):
            return uri
    raise NotToBeHad("apt knows no mirror of Debian; try apt-get update")


class InChroot(Private):
    """A server in ROOT, which sees its directory by another name than we do."""

    user = "root"  # who may enter; inside it is nobody

    def make_directory(self) -> Path:
        make_root()
        directory = Path(tempfile.mkdtemp(prefix="tests-", dir=ROOT / "tmp"))
        os.chown(directory, NOBODY, NOBODY)
        return directory

    @property
    def inside(self) -> Path:
        return Path("/") / self.directory.relative_to(ROOT)

    def as_nobody(self, command: list[str]) -> list[str]:
        return ["chroot", str(ROOT), *AS_NOBODY.split(), *command]

    def prepare_by(self, *command: object) -> None:
        _call(*self.as_nobody([str(word) for word in command]))


class NewestPostgres(InChroot, Postgres):
    def find_programs(self) -> None:
        make_root()
        where = max(ROOT.glob("usr/lib/postgresql/*/bin"))
        self.initdb, self.postgres = (
            f"/{(where / name).relative_to(ROOT)}" for name in ("initdb", "postgres")
        )

    def prepare(self) -> None:
        options = ["-A", "trust", "-U", "postgres", "--no-sync", "--encoding=UTF8", "--locale=C"]
        self.prepare_by(self.initdb, "-D", self.inside / "data", *options)

    def server(self) -> list[str]:
        return self.as_nobody([self.postgres, "-D", str(self.inside / "data"), *self.settings()])


class MySQL(InChroot, MariaDB):
    """As MariaDB, but what it is told differs here and there."""

    MYSQLD = ("/usr/sbin/mysqld", "--no-defaults")

    def find_programs(self) -> None:
        make_root()

    def prepare(self) -> None:
        self.prepare_by(*self.MYSQLD, "--initialize-insecure", f"--datadir={self.inside}/data")

    def server(self) -> list[str]:
        own = ["--mysqlx=OFF", "--secure-file-priv=NULL", "--skip-log-bin"]
        return self.as_nobody([*self.MYSQLD, *self.settings(self.inside), *own])

    def connect(self, *, admin: bool = False, other: bool = False) -> Any:
        """The port is open before the socket is, so not by the socket."""
        if not admin:
            return super().connect(other=other)
        return driver.connect_to_mysql(
            host="127.0.0.1", port=self.port, user="root", autocommit=True
        )

    def terminate_all(self, admin: Any) -> None:
        """As KILL USER, which MySQL has not."""
        with admin.cursor() as cursor:
            cursor.execute("SELECT id FROM performance_schema.processlist WHERE user = 'app'")
            for (number,) in cursor.fetchall():
                try:
                    cursor.execute(f"KILL {number}")
                except driver.Refused:  # it has ended by itself
                    continue


SERVERS: dict[str, Callable[..., Private]] = {"mysql": MySQL, "postgresql": NewestPostgres}


def main(kind: str, arguments: list[str]) -> int:
    """Run the tests on a server of this kind; return the exit code."""
    began = monotonic()
    required = os.environ.get("REQUIRE_DATABASES") == "1"
    try:
        server = SERVERS[kind](connections=200)
    except NotToBeHad as reason:
        print(f"{kind}: {'FAILED' if required else 'not run'}, {reason}")
        return int(required)
    print(f"{kind}: a server of sid, after {monotonic() - began:.0f} s", flush=True)
    try:
        run = Run(
            kind,
            ["-n2", "--dist", "loadgroup", *tests_in(arguments, default=CORE)],
            server.admin_url,
        )
        run.environment["SERVERS"] = "sid"
        run.beside_others()
    finally:
        server.end()
    print_results([run])
    return int(run.failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
