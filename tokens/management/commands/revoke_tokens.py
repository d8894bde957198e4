from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tokens.log import logger
from tokens.management.command import LenientCommand
from tokens.management.crowds import revoke_all_users, revoke_group, revoke_users_from
from tokens.management.revoking import MANY, Result, revoke_jti, revoke_session, revoke_user
from tokens.management.shell import (
    add_common_arguments,
    answer,
    database,
    database_errors_told,
)
from tokens.management.users import operator
from tokens.origin import acting, doing
from tokens.schedule.exit_codes import USAGE

Revoke = Callable[[BaseCommand, str, dict[str, Any]], tuple[Result, str]]

# By the option that says what ends.
SELECTORS: dict[str, Revoke] = {
    "user": revoke_user,
    "session": revoke_session,
    "jti": revoke_jti,
    "group": revoke_group,
    "users_from": revoke_users_from,
    "all_users": revoke_all_users,
}

ONE_OF = "Give exactly one of --user, --session, --jti, --group, --users-from and --all-users."


class Command(LenientCommand):
    help = (
        "Revokes tokens: those of a user or a session, a single one by its jti, those of a group"
        f" or of listed users, or everybody's. {ONE_OF} Revoking twice does no"
        " harm. Exits with 0 when done, 1 if it failed or you did not confirm, 2 if an option is"
        " wrong or there is no such user or group."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        # ``handle`` checks the values: a mistake then prints one line instead of the whole usage,
        # and call_command follows the same rules.
        parser.add_argument(
            "--user",
            metavar="NAME",
            help="Log this user out everywhere. NAME is the login name, or id:KEY with the"
            " primary key.",
        )
        parser.add_argument(
            "--session",
            metavar="SID",
            help="End this session. If it is not live, refuse its access tokens for"
            " ACCESS_TOKEN_LIFETIME.",
        )
        parser.add_argument(
            "--jti", help="Refuse the token with this id. Requires --expires.", metavar="JTI"
        )
        parser.add_argument(
            "--expires",
            metavar="MOMENT",
            help="When the token of --jti expires: its exp claim in seconds, or a time like"
            " 2030-01-31T12:00:00Z. If you are not sure, choose a later time.",
        )
        parser.add_argument(
            "--all-users",
            action="store_true",
            help="End all sessions and refuse all tokens issued so far, in batches. Users who log"
            " in meanwhile may stay logged in.",
        )
        parser.add_argument(
            "--group",
            action="append",
            metavar="NAME",
            help="Log the users in this group out everywhere. Give it again for another group.",
        )
        parser.add_argument(
            "--exclude-staff",
            action="store_true",
            help="With --all-users or --group: leave out the users who are staff.",
        )
        parser.add_argument(
            "--users-from",
            metavar="FILE",
            help="Log out everywhere whom this file names as --user does, one on each line;"
            " - is standard input. If one is unknown, nothing is changed.",
        )
        parser.add_argument(
            "--reason",
            default="",
            metavar="TEXT",
            help="Why, for audits, such as the number of a ticket. The entries keep 255 characters,"
            " and who ran the command.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Show what would end; change nothing."
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="Do not ask for confirmation. Without this option the command asks before"
            f" it logs many users out, and before it ends more than {MANY} sessions of one.",
        )
        add_common_arguments(parser)

    def handle(self, **options: Any) -> None:
        given = [name for name in SELECTORS if options[name] not in (None, False, [])]
        if len(given) != 1:
            raise CommandError(ONE_OF, returncode=USAGE)
        (target,) = given
        if (options["expires"] is None) == (target == "jti"):
            raise CommandError("Use --jti and --expires together.", returncode=USAGE)
        if options["exclude_staff"] and target not in ("all_users", "group"):
            raise CommandError("Use --exclude-staff with --all-users or --group.", returncode=USAGE)
        using = database(options)
        by = doing().by or operator()  # a caller of call_command may have said who it is
        with database_errors_told(using), acting(by, note=options["reason"] or doing().note):
            result, line = SELECTORS[target](self, using, options)
        if not result.dry_run:
            _log(result)
        answer(self, asdict(result), [line], options, must_arrive=result.dry_run)


def _log(result: Result) -> None:
    logger.info(
        "revoke_tokens ended %d session(s) of %d user(s): %s %r",
        result.sessions,
        result.users,
        result.target,
        result.subject,
        extra={
            "event": "revoked_by_command",
            "target": result.target,
            "sessions": result.sessions,
            "users": result.users,
        },
    )
