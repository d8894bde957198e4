"""``cleanup_tokens --every``: the command as a process that keeps going until it is stopped."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tokens.cleanup import SKIPPED, CleanupReport, Outcome
from tokens.conf import conf
from tokens.schedule import durations
from tokens.schedule.exit_codes import FAILED, USAGE
from tokens.schedule.periodic import CleanUp, Periodic

from ..shell import deliver, lost
from ..writing import Unwritten
from . import _cleanup_text as text


def interval(options: dict[str, Any]) -> timedelta | None:
    """Return what ``--every`` says, None if it was not given; raise CommandError if it is wrong."""
    if options["every"] is None:
        return None
    try:
        return durations.interval(options["every"])
    except (TypeError, ValueError) as error:
        raise CommandError(f"--every: {error}", returncode=USAGE) from error


class Every:
    """Runs the cleanup again and again, and tells what each run did.

    ``write_metrics`` is called after each attempt.
    """

    def __init__(
        self,
        command: BaseCommand,
        options: dict[str, Any],
        *,
        write_metrics: Callable[[], object],
        stop: threading.Event,
    ) -> None:
        self._command, self._options = command, options
        self._write_metrics, self._stop = write_metrics, stop
        self._is_first = True
        self._reader_is_gone = False

    def run(self, clean_up: CleanUp, *, using: str, every: timedelta) -> CleanupReport | None:
        """Clean up until stopped; return the report of the run under way, None if none was.

        Raises CommandError if nobody reads standard output any more.
        """
        if self._options["verbosity"] > 0:
            self._say_what_begins(every)
        periodic = Periodic(clean_up, using=using, interval=every, stop=self._stop, told=self._tell)
        report = periodic.run()
        if self._reader_is_gone:
            raise CommandError("Output pipe was closed; stopping.", returncode=FAILED)
        return report

    def _say_what_begins(self, every: timedelta) -> None:
        started = f"Cleaning up {durations.every(every)}. Stop with Ctrl-C."
        self._command.stderr.write(started, style_func=str)
        if every > conf.TOKENS_CLEANUP_INTERVAL:
            expected = durations.words(conf.TOKENS_CLEANUP_INTERVAL)
            self._command.stderr.write(
                f"TOKENS_CLEANUP_INTERVAL is {expected}: --check will call this overdue."
            )

    def _tell(self, report: CleanupReport, _wait: timedelta) -> None:
        self._write_metrics()
        is_first, self._is_first = self._is_first, False
        if report.outcome == SKIPPED:
            # Said once; after that only to those who ask for more.
            if self._options["verbosity"] > (0 if is_first else 1):
                lines = text.report_lines(report, verbosity=1)
                self._command.stderr.write("\n".join(lines), style_func=str)
            return
        # A failure is in the log, which goes to standard error unless the project configures it.
        if report.outcome != Outcome.FAILED or self._options["format"] == "json":
            self._say_what_was_done(report)
        # If this was the last run, the command itself says so, with its exit code.
        if report.outcome == Outcome.PARTIAL and not self._stop.is_set():
            self._command.stderr.write(text.stopped_early(report))

    def _say_what_was_done(self, report: CleanupReport) -> None:
        lines = list(text.report_lines(report, verbosity=self._options["verbosity"]))
        try:
            deliver(self._command, text.report_facts(report), lines, self._options)
        except Unwritten as failure:
            if failure.reader_is_gone:
                self._reader_is_gone = True
                self._stop.set()
            else:
                self._command.stderr.write(lost(failure, lines[0]))
