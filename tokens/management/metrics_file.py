"""``cleanup_tokens --metrics-file``: what node_exporter's textfile collector reads."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from ..schedule.exit_codes import USAGE


@contextmanager
def written(
    command: BaseCommand, path: str | None, *, using: str
) -> Iterator[Callable[[], object]]:
    """Write the metrics to ``path`` when the command ends, even if it fails.

    Gives a function that writes them earlier, for a command that keeps going. Raises CommandError
    at the start if no file can be written there. If writing fails later, standard error says so,
    and the exit code stays that of the work.
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
            reason = error.strerror or error
            command.stderr.write(f"The metrics could not be written to {path}: {reason}")

    try:
        yield write
    finally:
        write()


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
