"""``cleanup_tokens --metrics-file``: what node_exporter's textfile collector reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from ..signals import cleanup_failed, cleanup_finished
from .shell import FAILED, USAGE


@contextmanager
def written(command: BaseCommand, path: str | None, *, using: str) -> Iterator[None]:
    """Write the metrics to ``path`` after each run and at the end, however that comes about.

    Raises CommandError before anything else is done if it could not be written.
    """
    if path is None:
        yield
        return
    _check(path)
    try:
        from ..metrics import write_textfile
    except ImportError as error:
        raise CommandError(
            '--metrics-file needs prometheus_client: pip install "django-token-blacklist[metrics]"',
            returncode=USAGE,
        ) from error

    def write(**_of_the_signal: object) -> None:
        write_textfile(path, using=using)

    signals = (cleanup_finished, cleanup_failed)  # for a command that goes on after a run
    for signal in signals:
        signal.connect(write)
    try:
        yield
    except BaseException:
        # Its exit code matters more, whatever becomes of the file.
        try:
            write()
        except OSError as error:
            command.stderr.write(_unwritten(path, error))
        raise
    else:
        try:
            write()
        except OSError as error:
            raise CommandError(_unwritten(path, error), returncode=FAILED) from error
    finally:
        for signal in signals:
            signal.disconnect(write)


def _check(path: str) -> None:
    directory = Path(path).parent
    if not directory.is_dir():
        problem = f"there is no directory {str(directory)!r}."
    elif Path(path).is_dir():
        problem = f"{path!r} is a directory."
    elif not os.access(directory, os.W_OK):
        problem = f"nobody may write into {str(directory)!r} as this user."
    else:
        return
    raise CommandError(f"--metrics-file: {problem}", returncode=USAGE)


def _unwritten(path: str, error: OSError) -> str:
    return f"The metrics could not be written to {path}: {error.strerror or error}"
