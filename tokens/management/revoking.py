"""What ``revoke_tokens`` does for one user, one session or one token, and what it says."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from .. import blacklist, clock, databases, retry, sessions
from ..claims import Claims
from ..conf import simplejwt
from ..formats import count, moment, one_line
from ..keys import is_sid
from ..mass_logout import COUNT_SECONDS
from ..models import BlacklistEntry, TokenSession
from ..querysets import oldest_in_force
from ..schedule.exit_codes import USAGE
from .moments import moment_in
from .shell import confirm
from .users import find_user

# Above this number of sessions of a user the command asks for confirmation.
MANY = 100

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
    exclude_staff: bool = False

    @property
    def ended(self) -> str:
        return f"{'Would end' if self.dry_run else 'Ended'} {count(self.sessions, 'session')}"

    def verb(self, verb: str) -> str:
        return "would be" if self.dry_run else verb

    def of_users(self, whose: str) -> str:
        """Return the line that tells it, if the tokens of users are refused."""
        refused = f"the tokens issued to {whose} until now {self.verb('are')} refused"
        return f"{self.ended}; {refused}."


def ask(command: BaseCommand, question: str, options: dict[str, Any]) -> None:
    """Ask unless ``--no-input`` says not to; raise CommandError unless the answer is yes."""
    if options["interactive"]:
        confirm(command, question)


def revoke_user(command: BaseCommand, using: str, options: dict[str, Any]) -> tuple[Result, str]:
    user = find_user(options["user"], using=using)
    name = one_line(user.get_username())
    rows = TokenSession.objects.using(using).of_user(user.pk)
    questions = databases.questions(using, seconds=COUNT_SECONDS)
    if options["dry_run"]:
        number = questions.must_ask(rows.count)
    else:
        # Whatever keeps the number from being told, in an incident the deed is what counts.
        found = retry.lost_races(questions.count)(rows)
        if found is None or found.rows > MANY:
            many = count(found.rows, "session") if found else "an unknown number of sessions"
            ask(command, f"This ends {many} of {name}.", options)
        number = sessions.end_all(user, reason=REASON, using=using)
    result = Result("user", str(user.pk), options["dry_run"], number, users=1)
    return result, result.of_users(name)


def revoke_session(
    _command: BaseCommand, using: str, options: dict[str, Any]
) -> tuple[Result, str]:
    sid = _sid(options["session"])
    rows = TokenSession.objects.using(using).named(sid)
    session = retry.lost_races(rows.first)()
    until = clock.now() + simplejwt.ACCESS_TOKEN_LIFETIME
    if session:
        until = max(until, session.expires_at)
        if not options["dry_run"]:
            sessions.end_many(rows, reason=REASON, using=using)
        result = Result("session", sid, options["dry_run"], 1, 1, until)
        return result, f"{result.ended}, of the user with id {session.user_id}."
    if not options["dry_run"]:
        entry, _ = blacklist.revoke_session(sid, expires_at=until, reason=REASON, using=using)
        until = entry.expires_at
    result = Result("session", sid, options["dry_run"], 0, 0, until)
    refused = f"access tokens {result.verb('are')} refused until {moment(until)}"
    return result, f"No live session has this id. Its {refused}."


def revoke_jti(_command: BaseCommand, using: str, options: dict[str, Any]) -> tuple[Result, str]:
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
    refused = f"{result.verb('is')} refused until {moment(until)}"
    return result, f"The token with this jti {refused}."


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
    until = moment_in("expires", text, seconds=True)
    if until < oldest_in_force():
        raise CommandError(
            f"--expires is in the past ({moment(until)}): such a token is refused anyway.",
            returncode=USAGE,
        )
    return until
