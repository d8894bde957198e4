"""What the commands share: the database, the answer, the question, the progress bar."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connections

from .. import blacklist, databases, retry
from ..formats import Encoder
from ..log import only_informs
from ..schedule.exit_codes import FAILED, USAGE
from .writing import Lenient, Unwritten, is_terminal, write


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
    except databases.UnsupportedDatabase as error:
        raise CommandError(str(error), returncode=FAILED) from error
    except Error as error:
        described = retry.describe(error)
        if databases.took_too_long(error, connections[using]):
            message = (
                f"The database {using!r} took too long ({described}). Somebody has locked a table,"
                " or a limit on statements is too short. Try again."
            )
        else:
            message = (
                f"The database {using!r} can't be used ({described})."
                " Is it running, writable and migrated?"
            )
        raise CommandError(message, returncode=FAILED) from error


def answer(
    command: BaseCommand,
    facts: dict[str, Any],
    lines: Iterable[str],
    options: dict[str, Any],
    *,
    must_arrive: bool = False,
    exactly: bool = False,
) -> None:
    """Write the result to standard output, as ``--format`` says; nothing at verbosity 0.

    If that fails, say so on standard error: what was done is done. ``must_arrive`` is for a result
    that is all that was asked for: raises CommandError, unless the reader had enough of it. For
    ``exactly`` see ``writing.write``.
    """
    lines = list(lines)
    try:
        deliver(command, facts, lines, options, exactly=exactly)
    except Unwritten as failure:
        said = lost(failure, None if must_arrive else lines[0])
        if must_arrive and not failure.reader_is_gone:
            raise CommandError(said, returncode=FAILED) from failure
        command.stderr.write(said)


def deliver(
    command: BaseCommand,
    facts: dict[str, Any],
    lines: Iterable[str],
    options: dict[str, Any],
    *,
    exactly: bool = False,
) -> None:
    """Do as ``answer`` does, but raise ``writing.Unwritten`` if it fails."""
    if options["verbosity"] == 0:
        return
    if options["format"] == "json":
        lines = [json.dumps(facts, cls=Encoder)]  # In ASCII, which every encoding has.
    write(command.stdout, "\n".join(lines) + "\n", exactly=exactly)


def lost(failure: Unwritten, first: str | None) -> str:
    """Return what is said of a result that was not written; ``first`` is its first line."""
    what = "The result" if first is None else f"{first.removesuffix('.')}. This"
    return f"{what} could not be written to standard output: {failure}."


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
    shown: dict[str, Any] = {"unit": " rows", "desc": verb, "leave": False, "dynamic_ncols": True}
    bar = _Bar(lambda: tqdm(total=_known(total), file=Lenient(sys.stderr), **shown))
    try:
        yield bar.update
    finally:
        bar.close()


class _Bar:
    """A progress bar that is gone once it fails: the work goes on."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._bar: Any = None
        with only_informs("the progress bar can't be shown"):
            self._bar = make()

    def update(self, rows: int) -> None:
        self._call("update", rows)

    def close(self) -> None:
        self._call("close")

    def _call(self, name: str, *arguments: object) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            with only_informs("the progress bar can't be shown any more"):
                getattr(bar, name)(*arguments)
                self._bar = bar


def _known(total: Callable[[], int | None]) -> int | None:
    """Return the total, or None if the database does not tell it."""
    try:
        return total()
    except Error:
        return None


def confirm(command: BaseCommand, question: str) -> None:
    """Ask on the terminal; raise CommandError unless the answer is yes.

    The question goes to standard error: standard output carries the result only. Who can't be
    shown it can't answer it.
    """
    nobody = CommandError(
        f"{question} Nobody can be asked here, so nothing was changed: add --no-input.",
        returncode=USAGE,
    )
    if not is_terminal(sys.stdin):
        raise nobody
    try:
        write(command.stderr, f"{question} Type yes to continue: ")
    except Unwritten as failure:
        raise nobody from failure
    try:
        said = _typed()
    except (EOFError, KeyboardInterrupt):
        command.stderr.write("", style_func=str)
        said = ""
    if said.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was changed.", returncode=FAILED)


def _typed() -> str:
    try:
        try:
            return input()
        except RuntimeError:  # It needs a standard output, which is closed.
            return sys.stdin.readline()
    except UnicodeDecodeError:
        return ""
