"""``cleanup_tokens --every``: the command as a process that goes on until it is stopped."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tokens.cleanup import SKIPPED, CleanupReport, Outcome
from tokens.schedule import durations
from tokens.schedule.periodic import CleanUp, Periodic

from ..shell import USAGE
from . import _cleanup_text as text


def interval(options: dict[str, Any]) -> timedelta | None:
    """Return what ``--every`` says, None if it was not given; raise CommandError if it is wrong."""
    if options["every"] is None:
        return None
    try:
        return durations.interval(options["every"])
    except ValueError as error:
        raise CommandError(f"--every: {error}", returncode=USAGE) from error


def run(
    command: BaseCommand,
    clean_up: CleanUp,
    say: Callable[[CleanupReport, dict[str, Any]], None],
    write_metrics: Callable[[], object],
    *,
    using: str,
    every: timedelta,
    stop: threading.Event,
    options: dict[str, Any],
) -> CleanupReport | None:
    """Clean up until ``stop`` is set; return the report of the run under way, None if none was."""
    verbosity = options["verbosity"]
    if verbosity > 0:
        started = f"Cleaning up {durations.every(every)}. Stop with Ctrl-C."
        command.stderr.write(started, style_func=str)
    attempts = iter(["first"])

    def tell(report: CleanupReport, wait: timedelta) -> None:
        write_metrics()
        first = next(attempts, None)
        if report.outcome == SKIPPED:
            # Said once, and then only to those who ask for more.
            if verbosity > 1 or (verbosity == 1 and first):
                lines = text.report_lines(report, verbosity=1)
                command.stderr.write("\n".join(lines), style_func=str)
            return
        say(report, options)
        # Standard output is often a pipe, which would keep the lines for hours.
        command.stdout.flush()
        # How the last run ended is said by the exit code, and by the line beside it.
        if not stop.is_set():
            for line in _warnings(report, wait):
                command.stderr.write(line)

    return Periodic(clean_up, using=using, interval=every, stop=stop, told=tell).run()


def _warnings(report: CleanupReport, wait: timedelta) -> Iterator[str]:
    if report.outcome == Outcome.FAILED:
        again = f"Trying again in {durations.words(wait)}."
        yield f"The cleanup failed: {report.error}. {again}"
    elif report.outcome == Outcome.PARTIAL:
        yield text.stopped_early(report)
