"""The base of our commands: their streams can't stop them, nor change their exit code."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

from django.core.management.base import BaseCommand

from .writing import Lenient, empty, flush, innermost, is_closed


class LenientCommand(BaseCommand):
    """A command that its streams can't stop, and whose exit code they can't change."""

    def __init__(self, stdout: Any = None, stderr: Any = None, **colors: bool) -> None:
        # https://no-color.org; Django knows only DJANGO_COLORS.
        if os.environ.get("NO_COLOR") and not colors.get("force_color"):
            colors["no_color"] = True
        out: Any = Lenient(stdout or sys.stdout)
        err: Any = Lenient(stderr or sys.stderr)
        with _closed_ones_gone():
            super().__init__(out, err, **colors)

    def run_from_argv(self, argv: list[str]) -> None:
        # Also for the parser, for warnings, and for logging, which complains there.
        with redirect_stderr(Lenient(sys.stderr)):
            super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> str | None:
        given = {name: Lenient(options[name]) for name in ("stdout", "stderr") if options.get(name)}
        with _closed_ones_gone():
            try:
                return super().execute(*args, **options | given)
            finally:
                _discard_unwritable()


@contextmanager
def _closed_ones_gone() -> Iterator[None]:
    """Make closed standard streams None meanwhile, as Python does when a process starts so.

    Django, logging and tqdm are ready for None; a closed file makes them raise.
    """
    streams = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    closed = {name: stream for name, stream in streams.items() if is_closed(stream)}
    for name in closed:
        setattr(sys, name, None)
    try:
        yield
    finally:
        for name, stream in closed.items():
            setattr(sys, name, stream)


def _discard_unwritable() -> None:
    """Empty the buffers of the standard streams: what others left there, such as a line of the log.

    Python would try to write it when the process ends, complain, and exit with 120.
    """
    for stream in map(innermost, (sys.stdout, sys.stderr)):
        try:
            flush(stream)
        except Exception:  # noqa: BLE001
            empty(stream)
