"""What the commands share: exit codes, the database, the answer, the question, the bar."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from .. import blacklist
from ..encoder import Encoder

FAILED, USAGE = 1, 2


def add_common_arguments(parser: CommandParser) -> None:
    """Add what ``database``, ``answer`` and ``shows_progress`` go by."""
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


def answer(
    command: BaseCommand, facts: dict[str, Any], lines: Iterable[str], options: dict[str, Any]
) -> None:
    """Write the result to standard output, as ``--format`` says; nothing at verbosity 0."""
    if options["verbosity"] == 0:
        return
    if options["format"] == "json":
        lines = [json.dumps(facts, cls=Encoder)]
    command.stdout.write("\n".join(lines))


def shows_progress(command: BaseCommand, options: dict[str, Any]) -> bool:
    """Return whether a progress bar is wanted, and somebody there to see it."""
    wanted = options["verbosity"] > 0 and options["format"] == "text"
    return wanted and not options["no_progress"] and command.stderr.isatty()


def confirm(command: BaseCommand, question: str) -> None:
    """Ask on the terminal; raise CommandError unless the answer is yes.

    The question goes to standard error: standard output carries the result only.
    """
    if not sys.stdin.isatty():
        raise CommandError(
            f"{question} Nobody can be asked here, so nothing was changed: add --no-input.",
            returncode=USAGE,
        )
    command.stderr.write(f"{question} Type yes to go on: ", ending="", style_func=str)
    command.stderr.flush()
    try:
        said = input()
    except (EOFError, KeyboardInterrupt):
        command.stderr.write("", style_func=str)
        said = ""
    if said.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was changed.", returncode=FAILED)


def count(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many}"
