"""A database server of our own that a test may break.

Each fault is a context manager: the database is ill inside of it and well after it.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from . import driver

SECONDS_TO_START = 60
CONNECTIONS = 24  # of which the two servers need half


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

    def __init__(self, connections: int = CONNECTIONS) -> None:
        self.connections = connections
        self.find_programs()
        self.directory = self.make_directory()
        self.port = free_port()
        self.prepare()
        self.start()
        self.admit()

    @abstractmethod
    def find_programs(self) -> None:
        """Skip the test if there are none."""

    def make_directory(self) -> Path:
        directory = Path(tempfile.mkdtemp(prefix="outages-"))
        if os.geteuid() == 0 and self.user:
            shutil.chown(directory, self.user, pwd.getpwnam(self.user).pw_gid)
        return directory

    @abstractmethod
    def prepare(self) -> None: ...

    @abstractmethod
    def server(self) -> list[str]: ...

    @abstractmethod
    def admit(self) -> None:
        """Make the database, and its user, who may do no more than use it."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of the database, for the app."""

    @property
    @abstractmethod
    def admin_url(self) -> str:
        """The URL of a database to be made, for whoever may do anything."""

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
        with suppress(*driver.Refused):
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

    @abstractmethod
    def exhausted(self) -> AbstractContextManager[None]:
        """Let others take every connection, those of the app too."""

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
