"""Writes to streams as shells, cron, daemons and callers leave them to a command.

A stream may be None, closed, full, a pipe that nobody reads, a pipe that doesn't block, of any
encoding, or any object with a method ``write``.
"""

import errno
import io
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.core.management.base import OutputWrapper

# How long to wait for the reader of a full pipe that doesn't block, and how often to look.
_PATIENCE, _NAP = 5.0, 0.05


class Unwritten(Exception):
    """The text could not be written. The message is the reason."""

    def __init__(self, reason: str, *, reader_is_gone: bool = False) -> None:
        super().__init__(reason)
        self.reader_is_gone = reader_is_gone


def write(stream: Any, text: str, *, exactly: bool = False) -> None:
    """Write ``text`` at once and flush it; characters that the encoding lacks become escapes.

    Raises Unwritten, and no other Exception; with ``exactly`` also if the encoding lacks one. Then
    nothing is written, as far as a stream lets us take it back.
    """
    stream = innermost(stream)
    try:
        if stream is None or is_closed(stream):
            raise Unwritten("it is closed")
        errors = "strict" if exactly else "backslashreplace"
        if raw := _raw(stream):
            flush(stream)
            lines = text.replace("\n", os.linesep)
            _write_all(raw, lines.encode(stream.encoding, errors))
        else:
            _write_to_object(stream, text, errors)
    except Exception as error:
        if isinstance(error, OSError):
            empty(stream)
        raise _unwritten(error) from error


def is_closed(stream: Any) -> bool:
    """Return whether Python's file is closed, or has lost what it writes to."""
    try:
        return getattr(stream, "closed", False) is True
    except ValueError:  # detached
        return True


def is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


class Lenient:
    """A stream that can always be written to: what it can't write, it drops."""

    def __init__(self, stream: Any) -> None:
        self.stream = innermost(stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with suppress(Unwritten):
            write(self.stream, text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: ``write`` has flushed."""

    def isatty(self) -> bool:
        return is_terminal(self.stream)


def innermost(stream: Any) -> Any:
    """Return the stream that Django's wrappers and ours hold."""
    while True:
        if type(stream) is OutputWrapper:
            stream = stream._out
        elif type(stream) is Lenient:
            stream = stream.stream
        else:
            return stream


def _raw(stream: Any) -> io.RawIOBase | None:
    """Return what is below the buffers of a usual text file, None if ``stream`` is another object.

    What is written there can't stay in a buffer, where Python would try again when the process
    ends, complain, and exit with 120.
    """
    if type(stream) is not io.TextIOWrapper:
        return None  # Its ``write`` may do more than ours would.
    if "".encode(stream.encoding):
        return None  # Such as UTF-16: only the stream knows whether it has begun.
    buffer = stream.buffer
    raw = buffer.raw if type(buffer) is io.BufferedWriter else buffer
    return raw if isinstance(raw, io.RawIOBase) else None


def _write_all(raw: io.RawIOBase, data: bytes) -> None:
    left = memoryview(data)
    try:
        while left:
            left = left[_write_some(raw, left) :]
    except OSError:
        with suppress(OSError):
            _take_back(raw, len(data) - len(left))
        raise


def _write_some(raw: io.RawIOBase, data: memoryview) -> int:
    for _ in _naps():
        if written := raw.write(data):
            return written
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _take_back(raw: io.RawIOBase, number: int) -> None:
    """Cut off what was written last, if it is the end of a file: half of it may mislead."""
    end = raw.tell()
    if number and os.fstat(raw.fileno()).st_size == end:
        raw.truncate(end - number)
        raw.seek(end - number)


def _write_to_object(stream: Any, text: str, errors: str) -> None:
    encoding: Any = getattr(stream, "encoding", None)
    with suppress(LookupError, TypeError):  # There is no such encoding.
        text = text.encode(encoding, errors).decode(encoding)
    try:
        stream.write(text)
    except UnicodeError:
        if errors == "strict":
            raise
        stream.write(text.encode("ascii", errors).decode("ascii"))
    flush(stream)


def flush(stream: Any) -> None:
    """Flush the stream if it has a buffer; wait for the reader of a pipe that doesn't block."""
    if not hasattr(stream, "flush"):
        return
    for _ in _naps():
        try:
            stream.flush()
        except BlockingIOError as error:
            full = error
        else:
            return
    raise full


def empty(stream: Any) -> None:
    """Drop what a file holds in its buffer and can't write; it can be written to as before.

    Python would try it again when the file is closed, or the process ends, with exit code 120.
    """
    with suppress(Exception):  # It may be closed, or no file.
        _flush_into_nothing(stream, stream.fileno())


def _flush_into_nothing(stream: Any, descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        before = os.dup(descriptor)
    except OSError:  # Somebody has closed it behind Python's back.
        before = nothing
    os.dup2(nothing, descriptor)
    try:
        stream.flush()
    finally:
        os.dup2(before, descriptor)
        for one in {before, nothing}:
            os.close(one)


def _naps() -> Iterator[None]:
    """Yield, and sleep before each further time, until patience is at its end."""
    until = time.monotonic() + _PATIENCE
    yield
    while time.monotonic() < until:
        time.sleep(_NAP)
        yield


def _unwritten(error: Exception) -> Unwritten:
    if isinstance(error, Unwritten):
        return error
    if isinstance(error, UnicodeEncodeError):
        lacking = ascii(error.object[error.start : error.end])
        return Unwritten(f"the encoding {error.encoding} lacks {lacking}")
    reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return Unwritten(reason, reader_is_gone=isinstance(error, ConnectionError))
