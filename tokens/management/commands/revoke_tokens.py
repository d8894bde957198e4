import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tokens import blacklist, clock, sessions
from tokens.claims import Claims
from tokens.conf import simplejwt
from tokens.formats import count, moment
from tokens.keys import is_sid
from tokens.management.shell import (
    add_common_arguments,
    answer,
    confirm,
    database,
    database_errors_told,
    progress,
)
from tokens.management.users import find_user
from tokens.mass_logout import Ended, end_everybody
from tokens.mass_logout import count as count_everybody
from tokens.models import BlacklistEntry, TokenSession
from tokens.querysets import oldest_in_force
from tokens.schedule.exit_codes import FAILED, USAGE

logger = logging.getLogger("tokens")

# Above this number of sessions the command asks for confirmation.
MANY = 100

SELECTORS = ("user", "session", "jti", "all_users")

REASON = BlacklistEntry.Reason.COMMAND


@dataclass(frozen=True, slots=True)
class Result:
    """What the command did or would do. The JSON has the same names, so they are stable."""

    target: str
    subject: str | None
    dry_run: bool
    sessions: int
    users: int
    refused_until: datetime | None = None


class Command(BaseCommand):
    help = (
        "Revokes tokens: those of a user or a session, a single one by its jti, or everybody's."
        " Give exactly one of --user, --session, --jti and --all-users. Revoking twice does no"
        " harm. Exits with 0 when done, 1 if it failed or you did not confirm, 2 if an option is"
        " wrong or there is no such user."
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
            "--dry-run", action="store_true", help="Show what would end; change nothing."
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="Do not ask for confirmation. Without this option the command asks before"
            f" --all-users and before it ends more than {MANY} sessions.",
        )
        add_common_arguments(parser)

    def handle(self, **options: Any) -> None:
        given = [name for name in SELECTORS if options[name] not in (None, False)]
        if len(given) != 1:
            raise CommandError(
                "Give exactly one of --user, --session, --jti and --all-users.", returncode=USAGE
            )
        (target,) = given
        if (options["expires"] is None) == (target == "jti"):
            raise CommandError("Use --jti and --expires together.", returncode=USAGE)
        using = database(options)
        revoke: Callable[[str, dict[str, Any]], tuple[Result, str]] = getattr(self, f"_{target}")
        with database_errors_told(using):
            result, line = revoke(using, options)
        answer(self, asdict(result), [line], options)
        if not result.dry_run:
            _log(result)

    def _user(self, using: str, options: dict[str, Any]) -> tuple[Result, str]:
        user = find_user(options["user"], using=using)
        name = user.get_username()
        number = TokenSession.objects.using(using).of_user(user.pk).count()
        if not options["dry_run"]:
            if number > MANY:
                self._confirm(f"This ends {count(number, 'session')} of {name}.", options)
            number = sessions.end_all(user, reason=REASON, using=using)
        result = Result("user", str(user.pk), options["dry_run"], number, users=1)
        refused = f"the tokens issued to {name} until now {_are(result, 'are')} refused"
        return result, f"{_ended(result)}; {refused}."

    def _session(self, using: str, options: dict[str, Any]) -> tuple[Result, str]:
        sid = _sid(options["session"])
        rows = TokenSession.objects.using(using).named(sid)
        session = rows.first()
        until = clock.now() + simplejwt.ACCESS_TOKEN_LIFETIME
        if session:
            until = max(until, session.expires_at)
            if not options["dry_run"]:
                sessions.end_many(rows, reason=REASON, using=using)
            result = Result("session", sid, options["dry_run"], 1, 1, until)
            return result, f"{_ended(result)}, of the user with id {session.user_id}."
        if not options["dry_run"]:
            entry, _ = blacklist.revoke_session(sid, expires_at=until, reason=REASON, using=using)
            until = entry.expires_at
        result = Result("session", sid, options["dry_run"], 0, 0, until)
        refused = f"access tokens {_are(result, 'are')} refused until {moment(until)}"
        return result, f"No live session has this id. Its {refused}."

    def _jti(self, using: str, options: dict[str, Any]) -> tuple[Result, str]:
        jti, until = options["jti"], _expiry(options["expires"])
        if not jti:
            raise CommandError("--jti is empty.", returncode=USAGE)
        if not options["dry_run"]:
            claims = Claims(
                jti=jti,
                sid=None,
                user_id=None,
                issuer=simplejwt.ISSUER or "",
                issued_at=clock.now(),
                expires_at=until,
            )
            until = blacklist.revoke_token(claims, reason=REASON, using=using)[0].expires_at
        result = Result("jti", jti, options["dry_run"], 0, 0, until)
        refused = f"{_are(result, 'is')} refused until {moment(until)}"
        return result, f"The token with this jti {refused}."

    def _all_users(self, using: str, options: dict[str, Any]) -> tuple[Result, str]:
        ended = count_everybody(using)
        if not options["dry_run"]:
            users = count(ended.users, "user")
            question = (
                f"This ends {count(ended.sessions, 'session')} and refuses all tokens of {users}."
            )
            self._confirm(question, options)
            ended = self._end_everybody(using, ended, options)
        result = Result("all_users", None, options["dry_run"], ended.sessions, ended.users)
        users = count(ended.users, "user")
        refused = f"the tokens issued to {users} until now {_are(result, 'are')} refused"
        return result, f"{_ended(result)}; {refused}."

    def _end_everybody(self, using: str, expected: Ended, options: dict[str, Any]) -> Ended:
        try:
            with progress(
                self, options, verb="Revoking", total=lambda: expected.users + expected.sessions
            ) as advance:
                return end_everybody(
                    reason=REASON,
                    using=using,
                    progress=lambda ended: advance(ended.users + ended.sessions),
                )
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. What was revoked stays revoked; run the command again for the rest.",
                returncode=FAILED,
            ) from None

    def _confirm(self, question: str, options: dict[str, Any]) -> None:
        if options["interactive"]:
            confirm(self, question)


def _sid(text: str) -> str:
    try:
        sid = str(UUID(text))  # however it is spelled
    except ValueError:
        sid = ""
    if not is_sid(sid):
        raise CommandError(
            f"--session must be the id of a session of this app, not {text!r}.",
            returncode=USAGE,
        )
    return sid


def _expiry(text: str) -> datetime:
    """Return the time that ``--expires`` names; raise CommandError unless it is in the future."""
    text = str(text)
    try:
        if text.isdecimal():
            named = datetime.fromtimestamp(int(text), UTC)
        else:
            named = datetime.fromisoformat(text)
        until = clock.from_epoch(named.timestamp())
    except (ValueError, OverflowError, OSError):
        raise CommandError(
            "--expires must be seconds since 1970, or a time like 2030-01-31T12:00:00Z,"
            f" not {text!r}.",
            returncode=USAGE,
        ) from None
    if named.tzinfo is None:
        raise CommandError(
            f"--expires needs a time zone, as in 2030-01-31T12:00:00Z; {text!r} has none.",
            returncode=USAGE,
        )
    if until < oldest_in_force():
        raise CommandError(
            f"--expires is in the past ({moment(until)}): such a token is refused anyway.",
            returncode=USAGE,
        )
    return until


def _ended(result: Result) -> str:
    return f"{'Would end' if result.dry_run else 'Ended'} {count(result.sessions, 'session')}"


def _are(result: Result, verb: str) -> str:
    return "would be" if result.dry_run else verb


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
