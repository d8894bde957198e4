"""Databases of our own that a test may break: a PostgreSQL, a MariaDB, a file of SQLite.

Each ``Fault`` is a context manager: the database is ill inside of it and well after it.
"""

import os
import pwd
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

SECONDS_TO_START = 60
CONNECTIONS = 16


def needs(*programs: str | None) -> list[str]:
    """Return the programs; skip the test where one is missing, but never where all must run."""
    if None in programs:
        assert os.environ.get("REQUIRE_DATABASES") != "1", "the server's programs are missing"
        pytest.skip("the server's programs are not installed")
    return [str(program) for program in programs]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_user(name: str) -> str:
    """Return what to write before a command: it runs as ``name``, and never longer than we do."""
    change = f" --reuid {name} --regid {name} --init-groups" if os.geteuid() == 0 else ""
    return f"setpriv --pdeathsig KILL{change}"


class Private(ABC):
    """A database server in a directory of its own, as a child process."""

    user = ""
    child: subprocess.Popen[bytes]

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="outages-"))
        self.port = free_port()
        if os.geteuid() == 0 and self.user:
            shutil.chown(self.directory, self.user, pwd.getpwnam(self.user).pw_gid)
        self.prepare()
        self.start()
        self.admit()

    @abstractmethod
    def prepare(self) -> None: ...

    @abstractmethod
    def server(self) -> list[str]: ...

    @abstractmethod
    def admit(self) -> None:
        """Make the database, and its user, who may do no more than use it."""

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def connect(self, **admin: Any) -> Any:
        """Return a connection as the app; with ``admin`` as whoever may do anything."""

    @abstractmethod
    def terminate_all(self, admin: Any) -> None:
        """End the connections of the app."""

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.child = subprocess.Popen(
                [*as_user(self.user).split(), *self.server()],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while not self.answers():
            assert self.child.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def answers(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        with suppress(psycopg.OperationalError, pymysql.OperationalError):
            self.connect(admin=True).close()
            return True
        return False

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-5000:]

    def processes(self) -> list[int]:
        """Return the server's processes, the first one first."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text()
        return [self.child.pid, *map(int, children.split())]

    def end(self) -> None:
        if self.child.poll() is None:
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    stop_signal = signal.SIGTERM

    def stop(self) -> None:
        self.child.send_signal(self.stop_signal)
        self.child.wait(SECONDS_TO_START)

    def signal_all(self, number: int) -> None:
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, number)

    # Faults

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def killed(self) -> Iterator[None]:
        self.signal_all(signal.SIGKILL)
        self.child.wait(SECONDS_TO_START)
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stop all of its processes where they are; what the kernel answers goes on."""
        self.signal_all(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal_all(signal.SIGCONT)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self.set_read_only(True)
        try:
            yield
        finally:
            self.set_read_only(False)

    @abstractmethod
    def set_read_only(self, on: bool) -> None: ...

    @contextmanager
    def terminating(self) -> Iterator[None]:
        """End the app's connections again and again, idle or under way."""
        with self._again_and_again(self.terminate_all):
            yield

    @contextmanager
    def exhausted(self) -> Iterator[None]:
        """Let others take every connection, those of the app too."""
        taken: list[Any] = []

        def take(admin: Any) -> None:
            if not taken:
                # All that are free first, so that what is ended is not had again.
                self._take_all(taken)
            self.terminate_all(admin)
            self._take_all(taken)

        try:
            with self._again_and_again(take):
                yield
        finally:
            for one in taken:
                with suppress(psycopg.Error, pymysql.Error):
                    one.close()

    def _take_all(self, taken: list[Any]) -> None:
        with suppress(psycopg.OperationalError, pymysql.OperationalError):
            while True:
                taken.append(self.connect(other=True))

    @contextmanager
    def _again_and_again(self, work: Callable[[Any], None]) -> Iterator[None]:
        over, failures = threading.Event(), list[Exception]()

        def loop() -> None:
            try:
                while not over.wait(0.02):
                    work(admin)
            except Exception as error:  # noqa: BLE001 (told to the test)
                failures.append(error)

        admin = self.connect(admin=True)
        thread = threading.Thread(target=loop)
        work(admin)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            admin.close()
        assert not failures, failures


class Postgres(Private):
    user = "postgres"
    stop_signal = signal.SIGINT  # as `pg_ctl stop` does: it does not wait for the clients

    def __init__(self) -> None:
        where = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        names = ("initdb", "postgres")
        self.initdb, self.postgres = needs(
            *(shutil.which(name, path=str(where[0]) if where else None) for name in names)
        )
        super().__init__()

    def prepare(self) -> None:
        subprocess.run(
            shlex.split(
                f"{as_user(self.user)} {self.initdb} -D data -A trust -U postgres --no-sync"
                " --encoding=UTF8 --locale=C"
            ),
            cwd=self.directory,
            check=True,
            capture_output=True,
            timeout=120,
        )

    def server(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",  # for power failures only; what was written survives SIGKILL
            "max_connections": CONNECTIONS,
            "shared_buffers": "16MB",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.postgres, "-D", str(self.directory / "data"), *options]

    def admit(self) -> None:
        with self.connect(admin=True) as admin:
            admin.execute("CREATE ROLE app LOGIN")
            admin.execute("CREATE DATABASE app OWNER app")

    @property
    def url(self) -> str:
        return f"postgres://app@127.0.0.1:{self.port}/app"

    def connect(self, *, admin: bool = False, other: bool = False) -> Any:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres" if admin else "app",
            dbname="postgres" if admin else "app",
            application_name="other" if other else "",
            connect_timeout=10,
            autocommit=True,
        )

    def terminate_all(self, admin: Any) -> None:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'app' AND application_name <> 'other'"
        )

    def set_read_only(self, on: bool) -> None:
        with self.connect(admin=True) as admin:
            admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {on}")
            admin.execute("SELECT pg_reload_conf()")


class MariaDB(Private):
    user = "mysql"

    def __init__(self) -> None:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin"
        self.install, self.mariadbd = needs(
            shutil.which("mariadb-install-db", path=path), shutil.which("mariadbd", path=path)
        )
        super().__init__()

    def prepare(self) -> None:
        subprocess.run(
            shlex.split(
                f"{as_user(self.user)} {self.install} --no-defaults --skip-test-db"
                f" --auth-root-authentication-method=normal --datadir={self.directory}/data"
            ),
            cwd=self.directory,
            check=True,
            capture_output=True,
            timeout=120,
        )

    def server(self) -> list[str]:
        settings = {
            "datadir": self.directory / "data",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self.directory / "socket",
            "pid-file": self.directory / "pid",
            # For power failures only, as fsync=off: what was committed survives SIGKILL.
            "innodb-flush-log-at-trx-commit": 2,
            "innodb-buffer-pool-size": "32M",
            "max-connections": CONNECTIONS,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self.mariadbd, "--no-defaults", *options, "--skip-name-resolve"]

    def admit(self) -> None:
        admin = self.connect(admin=True)
        with admin.cursor() as cursor:
            cursor.execute("CREATE DATABASE app CHARACTER SET utf8mb4")
            for name in ("app", "other"):
                cursor.execute(f"CREATE USER {name}@'127.0.0.1'")
                cursor.execute(f"GRANT ALL ON app.* TO {name}@'127.0.0.1'")
        admin.close()

    @property
    def url(self) -> str:
        # Shorter than the fault: to wait in vain is what is to be seen. And without TLS, because
        # PyMySQL prepares it anew for each connection.
        return f"mysql://app@127.0.0.1:{self.port}/app?read_timeout=1&ssl_disabled=1"

    def connect(self, *, admin: bool = False, other: bool = False) -> Any:
        if admin:
            return pymysql.connect(
                unix_socket=str(self.directory / "socket"), user="root", autocommit=True
            )
        name = "other" if other else "app"
        return pymysql.connect(host="127.0.0.1", port=self.port, user=name, database="app")

    def terminate_all(self, admin: Any) -> None:
        with admin.cursor() as cursor:
            cursor.execute("KILL USER app")

    def set_read_only(self, on: bool) -> None:
        admin = self.connect(admin=True)
        with admin.cursor() as cursor:
            cursor.execute(f"SET GLOBAL read_only = {int(on)}")
        admin.close()


class SQLite:
    """A file in a directory of its own, which can be taken away, locked and protected."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="outages-"))
        self.place = self.directory / "place"
        self.place.mkdir()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.place}/db.sqlite3"

    def end(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Take the directory away, as when a volume is not there."""
        away = self.directory / "away"
        self.place.rename(away)
        try:
            yield
        finally:
            away.rename(self.place)

    @contextmanager
    def empty(self) -> Iterator[None]:
        """Put an empty directory in its place, where SQLite makes an empty file."""
        with self.gone():
            self.place.mkdir()
            try:
                yield
            finally:
                shutil.rmtree(self.place)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock it against readers too, as a restore or a VACUUM of some tool does."""
        other = sqlite3.connect(self.place / "db.sqlite3", isolation_level=None, timeout=20)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Not at once if somebody reads each time that it is tried.
        while True:
            with suppress(sqlite3.OperationalError):
                other.execute("BEGIN EXCLUSIVE")
                break
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()

    @contextmanager
    def write_locked(self) -> Iterator[None]:
        """Hold the lock that lets one write at a time."""
        other = sqlite3.connect(self.place / "db.sqlite3", isolation_level=None, timeout=20)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        with self._modes(files=0o000):
            yield

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Protect the files; others can be made beside them."""
        with self._modes(files=0o444):
            yield

    @contextmanager
    def read_only_place(self) -> Iterator[None]:
        """Protect all, as a volume does that the kernel has mounted read-only."""
        with self._modes(files=0o444, place=0o555):
            yield

    @contextmanager
    def _modes(self, *, files: int, place: int = 0o755) -> Iterator[None]:
        self._change(files)
        self.place.chmod(place)
        try:
            yield
        finally:
            self.place.chmod(0o755)
            # What SQLite made meanwhile beside the file has the modes of the file.
            self._change(0o644)

    def _change(self, mode: int) -> None:
        for one in self.place.iterdir():
            with suppress(FileNotFoundError):
                one.chmod(mode)
