"""``cleanup_tokens --metrics-file``: what node_exporter's textfile collector reads."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from ..schedule.exit_codes import FAILED, USAGE


@contextmanager
def written(
    command: BaseCommand, path: str | None, *, using: str
) -> Iterator[Callable[[], object]]:
    """Write the metrics to ``path`` when the command ends, even if it fails.

    Gives a function that writes them earlier, for a command that keeps going; that one reports a
    failure to standard error. Raises CommandError at the start if no file can be written there,
    and at the end if writing failed.
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
        write()  # The command's own exit code matters more than the file.
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
        problem = f"this user may not write to {str(directory)!r}."
    else:
        return
    raise CommandError(f"--metrics-file: {problem}", returncode=USAGE)


def _unwritten(path: str, error: OSError) -> str:
    return f"The metrics could not be written to {path}: {error.strerror or error}"
