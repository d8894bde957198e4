"""``revoke_tokens --users-from``: the users whom a file names, one on each line."""

import codecs
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from typing import Any, TextIO

from django.core.management.base import CommandError

from ..schedule.exit_codes import USAGE
from .users import find_keys
from .writing import is_closed

# So many names are looked up at once, and so many unknown ones are told.
NAMES_AT_ONCE = 500
MOST_TOLD = 5

# In characters. A longer line is none of a list of names.
LONGEST_LINE = 5_000

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def source_of(path: str) -> str:
    """Return what the file is called in messages."""
    return "standard input" if path == "-" else path


def keys_listed_in(path: str, *, using: str) -> list[Any]:
    """Return the primary keys of the users whom the file names, each once; "-": standard input.

    The file is read as UTF-8, or as its byte order mark says. Raises CommandError if it can't be
    read, names nobody, or names somebody who is no user.
    """
    keys, unknown = dict[Any, None](), list[str]()
    with _reading(path) as lines:
        while names := list(dict.fromkeys(islice(lines, NAMES_AT_ONCE))):
            found = find_keys(names, using=using)
            keys |= dict.fromkeys(found.values())
            unknown += [name for name in names if name not in found]
            if len(unknown) > MOST_TOLD:
                break
    if unknown:
        told = ", ".join(map(repr, unknown[:MOST_TOLD]))
        more = " and more" if len(unknown) > MOST_TOLD else ""
        raise CommandError(
            f"No users are called {told}{more}, as {source_of(path)} says. Nothing was changed.",
            returncode=USAGE,
        )
    if not keys:
        raise CommandError(f"--users-from: {source_of(path)} names nobody.", returncode=USAGE)
    return list(keys)


@contextmanager
def _reading(path: str) -> Iterator[Iterator[str]]:
    """Give the names in the file; turn what is wrong with it into a CommandError."""
    try:
        with _text(path) as text:
            yield _names(text)
    except OSError as error:
        problem = f"can't be read: {error.strerror or error}"
    except UnicodeError as error:
        problem = f"is no text in UTF-8 ({error})"
    except _TooLong:
        problem = f"has a line of more than {LONGEST_LINE} characters, so it is no list of users"
    else:
        return
    raise CommandError(f"--users-from: {source_of(path)} {problem}.", returncode=USAGE)


class _TooLong(Exception):
    pass


@contextmanager
def _text(path: str) -> Iterator[TextIO]:
    if path != "-":
        with open(path, "rb") as file, _decoded(file) as text:
            yield text
        return
    if sys.stdin is None or is_closed(sys.stdin):
        raise OSError("it is closed")
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:
        yield sys.stdin
        return
    text = _decoded(buffer)
    try:
        yield text
    finally:
        text.detach()  # or it would close standard input


def _decoded(file: Any) -> TextIOWrapper:
    start = file.peek(4)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8-sig")
    return TextIOWrapper(file, encoding=encoding)


def _names(text: TextIO) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise _TooLong
        if name := line.strip():
            yield name
