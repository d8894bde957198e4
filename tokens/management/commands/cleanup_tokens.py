import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from types import FrameType
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from tokens import cleanup
from tokens.cleanup import CleanupReport
from tokens.conf import conf
from tokens.models import CleanupRun
from tokens.schedule import crontab
from tokens.schedule.exit_codes import FAILED, ROWS_LEFT, USAGE

from ..command import LenientCommand
from ..metrics_file import written
from ..shell import add_common_arguments, answer, database, database_errors_told, progress
from . import _cleanup_every, _cleanup_schedule
from . import _cleanup_text as text
from ._cleanup_every import Every


class Command(LenientCommand):
    help = (
        "Removes blacklist entries and sessions that have expired. Exits with 0 when it is done,"
        " not due, or another run is at work; 1 when it failed or is overdue; 2 when an option is"
        " wrong; 3 when it was stopped and rows are left."
    )
    # For Python only: what the record of the run says started it.
    stealth_options = ("trigger",)

    def add_arguments(self, parser: CommandParser) -> None:
        questions = parser.add_mutually_exclusive_group()
        questions.add_argument(
            "--dry-run", action="store_true", help="Say what would be removed; remove nothing."
        )
        questions.add_argument(
            "--check",
            action="store_true",
            help="Say when it last succeeded, when it is due and what is waiting; exit with 1 if it"
            " is overdue.",
        )
        questions.add_argument(
            "--every",
            metavar="INTERVAL",
            help="Keep going until stopped, and run whenever it is due: 45s, 90m, 24h, 1d, 1h30m.",
        )
        questions.add_argument(
            "--print-schedule",
            metavar="NAME",
            help="Print the configuration that makes a scheduler run this hourly; install nothing."
            f" NAME: {_cleanup_schedule.NAMES}.",
        )
        parser.add_argument(
            "--if-due",
            action="store_true",
            help="Run only if the last success is older than TOKENS_CLEANUP_INTERVAL.",
        )
        # Numbers are parsed in ``handle``, so that call_command is held to the same limits, and
        # so that a wrong one is answered by one line instead of the whole usage.
        parser.add_argument(
            "--batch-size",
            metavar="N",
            help="Rows in a batch (default: as many as fit into TOKENS_CLEANUP_BATCH_SECONDS).",
        )
        parser.add_argument(
            "--pause",
            metavar="SECONDS",
            help="Wait this long between two batches; 0 for full speed (default: nine times as long"
            " as a batch takes, but only while others use the database).",
        )
        parser.add_argument(
            "--max-seconds", metavar="S", help="Stop after this long; the next run continues."
        )
        parser.add_argument(
            "--metrics-file",
            metavar="PATH",
            help="Write metrics to this file at the end, for the textfile collector of Prometheus'"
            " node_exporter. Ignored with --dry-run.",
        )
        add_common_arguments(parser)

    def handle(self, **options: Any) -> None:
        using = database(options)
        every = _cleanup_every.interval(options)
        limits = {
            "batch_size": _number(options, "batch_size", int, least=1, most=1_000_000),
            "pause": _number(options, "pause", float, least=0, most=3_600),
            "max_seconds": _number(
                options, "max_seconds", float, least=0, most=31_536_000, zero=False
            ),
        }
        if options["print_schedule"] is not None:
            _cleanup_schedule.say(self, options)
            return
        metrics_file = None if options["dry_run"] else options["metrics_file"]
        with (
            database_errors_told(using),
            written(self, metrics_file, using=using) as write_metrics,
        ):
            if options["dry_run"]:
                self._preview(using, options)
            elif options["check"]:
                self._check(using, options)
            else:
                self._clean_up(using, options, limits, every, write_metrics)

    def _preview(self, using: str, options: dict[str, Any]) -> None:
        preview = cleanup.preview(using)
        lines = text.preview_lines(preview, verbosity=options["verbosity"])
        answer(self, asdict(preview), lines, options, must_arrive=True)

    def _check(self, using: str, options: dict[str, Any]) -> None:
        status = cleanup.status(using)
        line = crontab.inspect()
        lines = [
            *text.status_lines(status, verbosity=options["verbosity"]),
            *text.crontab_lines(line),
        ]
        facts = asdict(status) | {"crontab": asdict(line) if line else None}
        answer(self, facts, lines, options)
        margin = conf.TOKENS_CLEANUP_MARGIN.total_seconds()
        # Some of it is the time that asking takes.
        if abs(status.clock_difference) > max(margin / 2, 1):
            self.stderr.write(
                f"This host's clock is {status.clock_difference:+.0f} s off the database's:"
                f" more than half of TOKENS_CLEANUP_MARGIN ({margin:.0f} s)."
            )
        cause = text.likely_cause(line)
        if (complaint := text.complaint(status, cause=cause)) is not None:
            raise CommandError(complaint, returncode=FAILED)

    def _clean_up(
        self,
        using: str,
        options: dict[str, Any],
        limits: dict[str, Any],
        every: timedelta | None,
        write_metrics: Callable[[], object],
    ) -> None:
        trigger = options.get("trigger") or ("every" if every else "command")

        def run(*, using: str, **more: Any) -> CleanupReport:
            with progress(self, options, verb="Removing", total=lambda: _backlog(using)) as advance:
                return cleanup.run(using=using, trigger=trigger, progress=advance, **limits, **more)

        with _stopped_by_signals() as stop:
            if every:
                report = Every(self, options, write_metrics=write_metrics, stop=stop).run(
                    run, using=using, every=every
                )
            else:
                report = run(using=using, if_due=options["if_due"], stop=stop)
                lines = text.report_lines(
                    report, verbosity=options["verbosity"], elsewhere=lambda: _at_work(using)
                )
                answer(self, text.report_facts(report), lines, options)
        if report is None:
            return
        if report.outcome == cleanup.Outcome.FAILED:
            raise CommandError(f"The cleanup failed: {report.error}", returncode=FAILED)
        if report.outcome == cleanup.Outcome.PARTIAL:
            raise CommandError(text.stopped_early(report), returncode=ROWS_LEFT)


def _at_work(using: str) -> CleanupRun | None:
    """Return the run that is at work, or None if it has ended or can't be read. It only informs."""
    with suppress(DatabaseError, InterfaceError):
        return cleanup.at_work(using)
    return None


def _backlog(using: str) -> int | None:
    """Return how many rows wait to be removed, or None if there are too many to count."""
    status = cleanup.status(using)
    return None if status.backlog_at_least else status.backlog


def _number(
    options: dict[str, Any],
    name: str,
    kind: type[int] | type[float],
    *,
    least: int,
    most: int,
    zero: bool = True,
) -> float | None:
    """Return the option as a number, or None if it was not given; raise CommandError if wrong.

    ``zero`` says whether 0 will do.
    """
    value = options[name]
    if value is None:
        return None
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most or not (zero or number):
        noun = "a whole number" if kind is int else "a number"
        limits = f"from {least:,} to {most:,}" if zero else f"above {least:,}, at most {most:,}"
        flag = "--" + name.replace("_", "-")
        raise CommandError(
            f"{flag} must be {noun} {limits}, not {str(value)!r}.",
            returncode=USAGE,
        )
    return number


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM, SIGINT and SIGHUP set; a second one acts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Only the main thread may set signal handlers.
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        # Not here: the main thread may be inside stop.wait(), holding the event's lock.
        threading.Thread(target=stop.set).start()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # A terminal that is closed; Windows has no such signal, and nohup wants it ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        before[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)
    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
