"""Standard streams as shells, cron and daemons leave them to a process: full, broken, closed."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from django.core.management import load_command_class


class Raising(io.StringIO):
    """An object of somebody else's."""

    def write(self, text: str) -> int:
        raise RuntimeError("no more paper")

    def flush(self) -> None:
        raise RuntimeError("no more ink")


@contextmanager
def gone() -> Iterator[Any]:
    """``>&-`` in a shell, or a daemon."""
    yield None


@contextmanager
def closed() -> Iterator[Any]:
    stream = Path(os.devnull).open("w")  # noqa: SIM115
    stream.close()
    yield stream


@contextmanager
def full(**options: Any) -> Iterator[Any]:
    with Path("/dev/full").open("w", **options) as stream:
        yield stream


@contextmanager
def unbuffered() -> Iterator[Any]:
    """``python -u``."""
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as stream:
        yield stream


@contextmanager
def broken_pipe() -> Iterator[Any]:
    """``| true``, later."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        yield stream


@contextmanager
def full_pipe() -> Iterator[Any]:
    """A pipe that doesn't block, and that nobody reads."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    with os.fdopen(read), os.fdopen(write, "w") as stream:
        yield stream


@contextmanager
def closed_below() -> Iterator[Any]:
    """A file that a daemon closed by its number, where something else may be now."""
    with Path(os.devnull).open("w") as stream, Path(os.devnull).open() as other:
        os.dup2(other.fileno(), stream.fileno())
        yield stream


@contextmanager
def detached() -> Iterator[Any]:
    """What is left of a stream whose file somebody took, to write in another encoding."""
    stream = io.TextIOWrapper(io.BytesIO())
    stream.detach()
    yield stream


@contextmanager
def raising() -> Iterator[Any]:
    yield Raising()


@contextmanager
def no_stream() -> Iterator[Any]:
    yield object()


# What is wrong with the stream, and what is said of it.
FAULTS: dict[str, tuple[Any, str]] = {
    "gone": (gone, "it is closed"),
    "closed": (closed, "it is closed"),
    "full": (full, "No space left on device"),
    "unbuffered": (unbuffered, "No space left on device"),
    "other encoding": (lambda: full(encoding="utf-16"), "No space left on device"),
    "broken pipe": (broken_pipe, "Broken pipe"),
    "full pipe": (full_pipe, "Resource temporarily unavailable"),
    "closed below": (closed_below, "Bad file descriptor"),
    "detached": (detached, "it is closed"),
    "raising": (raising, "RuntimeError: no more paper"),
    "no stream": (no_stream, "AttributeError: 'object' object has no attribute 'write'"),
}


def run(*arguments: str, out: Any = None, err: Any = None) -> int:
    """Run a command as ``manage.py`` does, on these standard streams; return its exit code.

    Without ``out`` or ``err`` they are as they are. What is left in their buffers would be written
    when a process ends, and change its exit code.
    """
    streams = {name: it for name, it in (("stdout", out), ("stderr", err)) if it}
    with contextlib.ExitStack() as stack:
        for name, stream in streams.items():
            opened = stack.enter_context(stream()) if callable(stream) else stream
            stack.enter_context(mock.patch.object(sys, name, opened))
        code: Any = 0
        try:
            name, *options = arguments
            # The system checks take most of the time.
            arguments = ("manage.py", name, "--skip-checks", *options)
            load_command_class("tokens", name).run_from_argv(list(arguments))
        except SystemExit as end:
            code = end.code
        return code if _flushed() else 120


def _flushed() -> bool:
    for stream in (sys.stdout, sys.stderr):
        try:
            if isinstance(stream, io.TextIOWrapper):
                stream.flush()
        except ValueError:  # It is closed.
            continue
        except OSError:
            return False
    return True


def read_terminal(ours: int) -> str:
    """Return what was written to the other side of a terminal, which is closed.

    A busy machine brings it late. The end is an error of the device.
    """
    shown = b""
    with open(ours, "rb", buffering=0) as stream, contextlib.suppress(OSError):
        while part := stream.read(100_000):
            shown += part
    return shown.decode()
