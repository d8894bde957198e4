import math
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from tokens import simplejwt_import
from tokens.conf import conf
from tokens.formats import count
from tokens.management.command import LenientCommand
from tokens.management.shell import (
    add_common_arguments,
    answer,
    database,
    database_errors_told,
    progress,
)
from tokens.schedule import durations
from tokens.schedule.exit_codes import FAILED, USAGE
from tokens.simplejwt_import import NotImported, Report

APP = "rest_framework_simplejwt.token_blacklist"
LONGEST = timedelta(days=36_500)
WAIT = simplejwt_import.WAIT.total_seconds()


class Command(LenientCommand):
    help = (
        "Copies what simplejwt's blacklist refuses into this app's, whether or not simplejwt's app"
        " is still installed. Running it again does no harm. Until the old tables are dropped,"
        " checks ask them too. Exits with 0 when done or if there is nothing to do, 1 if it failed"
        " or was interrupted, 2 if an option is wrong or the tables can't be dropped yet."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        # ``handle`` checks the values: a mistake then prints one line instead of the whole usage,
        # and call_command follows the same rules.
        parser.add_argument(
            "--longest-lifetime",
            metavar="DURATION",
            help="How long after it was made a blacklisted token may live at most, whatever"
            " simplejwt has stored: 30d, 12h, or forever. Default: TOKENS_LONGEST_LIFETIME.",
        )
        parser.add_argument(
            "--with-sessions",
            action="store_true",
            help="Also turn the live refresh tokens of simplejwt's into sessions, so that users"
            " see their old logins and can end them.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Show what would be copied; change nothing."
        )
        parser.add_argument(
            "--drop",
            action="store_true",
            help="Instead of copying, drop the old tables and what else simplejwt's app has left in"
            " the database. An import must be on record.",
        )
        parser.add_argument(
            "--wait",
            metavar="SECONDS",
            help="With --drop: wait this long until no server asks the tables any more (default:"
            f" {WAIT:.0f}). Use 0 if no server is running.",
        )
        add_common_arguments(parser)

    def handle(self, **options: Any) -> None:
        using = database(options)
        longest, wait = _longest(options["longest_lifetime"]), _wait(options)
        if options["drop"]:
            self._drop(using, wait, options)
            return
        with database_errors_told(using):
            report = self._import(using, longest, options)
        lines = _lines(report, using)
        answer(self, asdict(report), lines, options, must_arrive=report.dry_run)

    def _import(self, using: str, longest: timedelta | None, options: dict[str, Any]) -> Report:
        try:
            with progress(
                self, options, verb="Importing", total=lambda: simplejwt_import.count(using)
            ) as advance:
                return simplejwt_import.run(
                    using=using,
                    longest=longest,
                    with_sessions=options["with_sessions"],
                    dry_run=options["dry_run"],
                    progress=advance,
                )
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. What was imported stays, but no import is on record; run the command"
                " again for the rest.",
                returncode=FAILED,
            ) from None

    def _drop(self, using: str, wait: timedelta, options: dict[str, Any]) -> None:
        if options["dry_run"] or options["with_sessions"] or options["longest_lifetime"]:
            raise CommandError("--drop copies nothing: use it alone.", returncode=USAGE)
        if apps.is_installed(APP):
            raise CommandError(
                f"{APP} is still in INSTALLED_APPS. Remove it first, and stop each server that"
                " has it.",
                returncode=USAGE,
            )
        try:
            with database_errors_told(using):
                dropped = simplejwt_import.drop(using=using, wait=wait)
        except NotImported as error:
            raise CommandError(
                f"{error}, so nothing was dropped. Run this command without --drop first.",
                returncode=USAGE,
            ) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Run the command again.", returncode=FAILED) from None
        line = "There is nothing left of simplejwt's blacklist."
        if any(asdict(dropped).values()):
            line = (
                f"Removed {count(dropped.tables, 'table')}, {count(dropped.migrations, 'record')}"
                f" of migrations and {count(dropped.content_types, 'content type')}."
            )
        answer(self, asdict(dropped), [line], options)


def _longest(said: str | timedelta | None) -> timedelta | None:
    """Return what ``--longest-lifetime`` says, None for ever; raise CommandError if it is wrong."""
    if said is None:
        return conf.TOKENS_LONGEST_LIFETIME
    if said == "forever":
        return None
    try:
        return said if isinstance(said, timedelta) else durations.parse(str(said), most=LONGEST)
    except ValueError as error:
        raise CommandError(f"--longest-lifetime: {error}", returncode=USAGE) from error


def _wait(options: dict[str, Any]) -> timedelta:
    """Return what ``--wait`` says; raise CommandError if it is wrong."""
    said = options["wait"]
    if said is None:
        return simplejwt_import.WAIT
    try:
        seconds = float(said)
    except (TypeError, ValueError):
        seconds = math.nan
    if not options["drop"] or not 0 <= seconds <= 3_600:
        raise CommandError(
            f"--wait goes with --drop, and must be a number from 0 to 3,600, not {said!r}.",
            returncode=USAGE,
        )
    return timedelta(seconds=seconds)


def _lines(report: Report, using: str) -> list[str]:
    if not report.tables:
        return [f"The database {using!r} has no tables of simplejwt's blacklist: nothing to do."]
    would = "Would import" if report.dry_run else "Imported"
    lines = [
        f"{would} {count(report.imported, 'blacklisted token')} of {report.read:,}:"
        f" {report.known:,} were known, {report.expired:,} have expired."
    ]
    for number, verb, done, what in (
        (report.sessions_ended, "end", "ended", "its token was blacklisted"),
        (report.sessions_continued, "go on", "went on", "an old server had refreshed it"),
        (report.sessions_started, "start", "started", "a live login of simplejwt's"),
    ):
        if number:
            happened = f"would {verb}" if report.dry_run else done
            lines.append(f"{count(number, 'session')} {happened} ({what}).")
    return lines
