"""What the commands share: the database, the answer, the question, the progress bar."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections

from .. import blacklist, retry
from ..formats import Encoder
from ..schedule.exit_codes import FAILED, USAGE


def add_common_arguments(parser: CommandParser) -> None:
    """Add the options that ``database``, ``answer`` and ``progress`` read."""
    parser.add_argument(
        "--database", metavar="ALIAS", help="Default: where the blacklist is written."
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--no-progress", action="store_true", help="Show no progress bar.")


def database(options: dict[str, Any]) -> str:
    """Return the alias that ``--database`` names, or that of the blacklist."""
    using: str = options["database"] or blacklist.database()
    if using not in connections:
        known = ", ".join(sorted(connections))
        raise CommandError(
            f"There is no database {using!r} in DATABASES, only: {known}.", returncode=USAGE
        )
    return using


@contextmanager
def database_errors_told(using: str) -> Iterator[None]:
    """Turn an error of the database into a CommandError that names the database."""
    try:
        yield
    except Error as error:
        raise CommandError(
            f"The database {using!r} can't be used ({retry.describe(error)})."
            " Is it running, writable and migrated?",
            returncode=FAILED,
        ) from error


def answer(
    command: BaseCommand, facts: dict[str, Any], lines: Iterable[str], options: dict[str, Any]
) -> None:
    """Write the result to standard output, as ``--format`` says; nothing at verbosity 0."""
    if options["verbosity"] == 0:
        return
    if options["format"] == "json":
        lines = [json.dumps(facts, cls=Encoder)]
    command.stdout.write("\n".join(lines))


@contextmanager
def progress(
    command: BaseCommand, options: dict[str, Any], *, verb: str, total: Callable[[], int | None]
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on a terminal; give the function that moves it by a number of rows.

    ``total`` is called only if a bar is shown. Without tqdm there is none.
    """
    wanted = options["verbosity"] > 0 and options["format"] == "text"
    if not (wanted and not options["no_progress"] and command.stderr.isatty()):
        yield lambda _rows: None
        return
    try:
        from tqdm import tqdm
    except ImportError:  # It comes with the extra "progress".
        yield lambda _rows: None
        return
    with tqdm(total=total(), unit=" rows", desc=verb, leave=False) as bar:
        yield bar.update


def confirm(command: BaseCommand, question: str) -> None:
    """Ask on the terminal; raise CommandError unless the answer is yes.

    The question goes to standard error: standard output carries the result only.
    """
    if not sys.stdin.isatty():
        raise CommandError(
            f"{question} Nobody can be asked here, so nothing was changed: add --no-input.",
            returncode=USAGE,
        )
    command.stderr.write(f"{question} Type yes to continue: ", ending="", style_func=str)
    command.stderr.flush()
    try:
        said = input()
    except (EOFError, KeyboardInterrupt):
        command.stderr.write("", style_func=str)
        said = ""
    if said.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was changed.", returncode=FAILED)
