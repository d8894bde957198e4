"""``cleanup_tokens --metrics-file``: what node_exporter's textfile collector reads."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from .shell import FAILED, USAGE


@contextmanager
def written(
    command: BaseCommand, path: str | None, *, using: str
) -> Iterator[Callable[[], object]]:
    """Write the metrics to ``path`` at the end, however that comes about.

    Gives a function that writes them before, for a command that goes on. If it can't, it says so
    on standard error. Raises CommandError before anything else is done if no file can be written
    there, and at the end if none was.
    """
    if path is None:
        yield lambda: None
        return
    _check(path)
    try:
        from ..metrics import write_textfile
    except ImportError as error:
        raise CommandError(
            '--metrics-file needs prometheus_client: pip install "django-token-blacklist[metrics]"',
            returncode=USAGE,
        ) from error

    def write() -> None:
        try:
            write_textfile(path, using=using)
        except OSError as error:
            command.stderr.write(_unwritten(path, error))

    try:
        yield write
    except BaseException:
        write()  # Its exit code matters more, whatever becomes of the file.
        raise
    try:
        write_textfile(path, using=using)
    except OSError as error:
        raise CommandError(_unwritten(path, error), returncode=FAILED) from error


def _check(path: str) -> None:
    directory = Path(path).parent
    if not directory.is_dir():
        problem = f"there is no directory {str(directory)!r}."
    elif Path(path).is_dir():
        problem = f"{path!r} is a directory."
    elif not path.endswith(".prom"):
        problem = f"node_exporter reads only files whose names end in .prom, not {path!r}."
    elif not os.access(directory, os.W_OK):
        problem = f"nobody may write into {str(directory)!r} as this user."
    else:
        return
    raise CommandError(f"--metrics-file: {problem}", returncode=USAGE)


def _unwritten(path: str, error: OSError) -> str:
    return f"The metrics could not be written to {path}: {error.strerror or error}"
