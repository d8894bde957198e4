from typing import Any

from django.core.management.base import CommandError, CommandParser

from tokens.management.command import LenientCommand
from tokens.management.moments import moment_in
from tokens.management.revocations import as_csv, as_json, batches
from tokens.management.shell import database, database_errors_told, lost
from tokens.management.users import find_user
from tokens.management.writing import Unwritten, write
from tokens.models import BlacklistEntry
from tokens.schedule.exit_codes import FAILED


class Command(LenientCommand):
    help = (
        "Writes what was revoked to standard output, oldest first: for whom, when, why, by whom,"
        " and from where. An entry is there until the cleanup removes it; TOKENS_RETENTION keeps it"
        " longer. Exits with 0 when done, 1 if it failed, 2 if an option is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        # ``handle`` checks the values: a mistake then prints one line instead of the whole usage,
        # and call_command follows the same rules.
        parser.add_argument("--format", choices=["csv", "json"], default="csv")
        parser.add_argument(
            "--since",
            metavar="MOMENT",
            help="Only what was revoked at this moment or later: 2030-01-31 (UTC), or a time like"
            " 2030-01-31T12:00:00Z.",
        )
        parser.add_argument(
            "--until", metavar="MOMENT", help="Only what was revoked before this moment."
        )
        parser.add_argument(
            "--user",
            metavar="NAME",
            help="Only the tokens of this user. NAME is the login name, or id:KEY with the primary"
            " key.",
        )
        parser.add_argument(
            "--database", metavar="ALIAS", help="Default: where the blacklist is written."
        )

    def handle(self, **options: Any) -> None:
        using = database(options)
        entries = BlacklistEntry.objects.using(using).all()
        for name, lookup in (("since", "created_at__gte"), ("until", "created_at__lt")):
            if options[name] is not None:
                entries = entries.filter(**{lookup: moment_in(name, options[name], dates=True)})
        form = as_json if options["format"] == "json" else as_csv
        with database_errors_told(using):
            if options["user"] is not None:
                entries = entries.filter(user=find_user(options["user"], using=using).pk)
            try:
                for text in form(batches(entries)):
                    write(self.stdout, text)
            except Unwritten as failure:
                said = lost(failure, None)
                if not failure.reader_is_gone:
                    raise CommandError(said, returncode=FAILED) from failure
                self.stderr.write(said)
