"""``cleanup_tokens --every``: the command as a process that goes on until it is stopped."""

import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tokens.cleanup import SKIPPED, CleanupReport, Outcome
from tokens.conf import conf
from tokens.schedule import durations
from tokens.schedule.periodic import CleanUp, Periodic

from ..shell import FAILED, USAGE
from . import _cleanup_text as text


def interval(options: dict[str, Any]) -> timedelta | None:
    """Return what ``--every`` says, None if it was not given; raise CommandError if it is wrong."""
    if options["every"] is None:
        return None
    try:
        return durations.interval(options["every"])
    except (TypeError, ValueError) as error:
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
        _say_what_begins(command, every)
    attempts = iter(["first"])

    def tell(report: CleanupReport, _wait: timedelta) -> None:
        write_metrics()
        first = next(attempts, None)
        if report.outcome == SKIPPED:
            # Said once, and then only to those who ask for more.
            if verbosity > 1 or (verbosity == 1 and first):
                lines = text.report_lines(report, verbosity=1)
                command.stderr.write("\n".join(lines), style_func=str)
            return
        # A failure is in the log, which is standard error unless the project says otherwise.
        if report.outcome != Outcome.FAILED or options["format"] == "json":
            say(report, options)
            # Standard output is often a pipe, which would keep the lines for hours.
            command.stdout.flush()
        # How the last run ended is said by the exit code, and by the line beside it.
        if report.outcome == Outcome.PARTIAL and not stop.is_set():
            command.stderr.write(text.stopped_early(report))

    unheard: list[BrokenPipeError] = []

    def tell_or_stop(report: CleanupReport, wait: timedelta) -> None:
        try:
            tell(report, wait)
        except BrokenPipeError as error:
            unheard.append(error)
            stop.set()

    report = Periodic(clean_up, using=using, interval=every, stop=stop, told=tell_or_stop).run()
    if unheard:
        _leave_the_pipe()
        raise CommandError("Nobody reads the output any more: stopped.", returncode=FAILED)
    return report


def _say_what_begins(command: BaseCommand, every: timedelta) -> None:
    started = f"Cleaning up {durations.every(every)}. Stop with Ctrl-C."
    command.stderr.write(started, style_func=str)
    if every > conf.TOKENS_CLEANUP_INTERVAL:
        asked = durations.words(conf.TOKENS_CLEANUP_INTERVAL)
        command.stderr.write(f"TOKENS_CLEANUP_INTERVAL is {asked}: --check will call this overdue.")


def _leave_the_pipe() -> None:
    """Keep Python from writing what is left to the broken pipe when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
