"""A file of SQLite that a test may break: ill inside of each context manager, and well after it."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .processes import wait_until


def is_open(directory: Path) -> bool:
    """Return whether a process has a file in ``directory`` open."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # closed meanwhile, or none of our processes
            if descriptor.readlink().is_relative_to(directory):
                return True
    return False


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
        """Put an empty directory in its place, where SQLite makes an empty file.

        As with a volume, nothing is exchanged while somebody has it open: whoever opened the file
        here and finds its log there may delete the log that others are writing.
        """
        away, emptied = self.directory / "away", self.directory / "emptied"
        with self.gone():
            wait_until(lambda: not is_open(away))
            self.place.mkdir()
            try:
                yield
            finally:
                # Renamed, because a server may make a file in it while it is being emptied.
                self.place.rename(emptied)
                wait_until(lambda: not is_open(emptied))

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
