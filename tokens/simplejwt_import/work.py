"""Copy what simplejwt's tables say: refuse what they blacklist, go on with what they don't.

Each batch is a short transaction of its own. An import that was interrupted keeps what it has done,
and running it again does no harm.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections

from .. import clock, databases, entries, old_tables, retry, sessions
from ..models import BlacklistEntry, BlacklistImport, TokenSession
from ..querysets import oldest_in_force
from . import logins, reading
from .old_token import OldToken
from .report import Report
from .tables import Blacklisted, Outstanding

Reason = BlacklistEntry.Reason

_COUNT_SECONDS = 5.0  # for the progress bar

_COLUMNS = (
    *("key", "scope", "subject", "user_id"),
    *("reason", "created_at", "expires_at"),
)


def count(using: str) -> int:
    """Return how many rows an import reads at most.

    Raises databases.OutOfTime, a database error, if they can't be counted quickly.
    """
    questions = databases.questions(using, seconds=_COUNT_SECONDS)
    models = (Blacklisted, Outstanding)
    return sum(questions.must_ask(model.objects.using(using).count) for model in models)


def run(
    *,
    using: str,
    longest: timedelta | None,
    with_sessions: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], object] = lambda _rows: None,
) -> Report:
    """Copy what simplejwt's tables say, and return what was copied.

    Every blacklisted token gets an entry that covers ``longest`` after the token was made; None
    covers for ever. A session that continues a blacklisted token ends. A refresh token that an old
    server made of one of our sessions becomes that session's newest. ``with_sessions`` turns the
    live refresh tokens of simplejwt's into sessions.

    With ``dry_run`` nothing is written. Otherwise the import is on record once all is done.
    """
    report = Report(dry_run=dry_run, tables=old_tables.are_there(using))
    if not report.tables:
        return report

    def done(batch: Report, rows: int) -> None:
        report.add(batch)
        progress(rows)

    def write(work: Callable[[int], Report]) -> Report:
        return work(0) if dry_run else retry.write(work, using=using)

    for tokens in reading.live(using):
        step = partial(logins.go_on, tokens, using=using, start=with_sessions, dry_run=dry_run)
        done(write(step), len(tokens))
    newest = 0
    for tokens in reading.blacklisted(using):
        newest = tokens[-1].pk
        done(write(partial(_refuse, tokens, using=using, longest=longest, dry_run=dry_run)), 0)
        progress(len(tokens))
    if not dry_run:
        record = BlacklistImport(last_blacklisted=newest)
        retry.write(lambda _attempt: record.save(using=using), using=using)
    return report


def _refuse(
    tokens: list[OldToken],
    _attempt: int,
    *,
    using: str,
    longest: timedelta | None,
    dry_run: bool,
) -> Report:
    oldest = oldest_in_force()
    ends = [(token, token.may_end_at(longest)) for token in tokens]
    by_key = {token.key: (token, end) for token, end in ends if end >= oldest}
    connection = connections[using]
    moment = connection.ops.adapt_datetimefield_value
    # In the order of their keys: neighbours go to the same page, and imports can't deadlock.
    rows = sorted(_row(key, *found, moment) for key, found in by_key.items())
    table, database = BlacklistEntry._meta.db_table, databases.of(connection)
    if dry_run:
        known = database.count_rows(table, [row[0] for row in rows])
    else:
        known = database.insert_rows(table, _COLUMNS, rows)
    return Report(
        read=len(tokens),
        imported=len(by_key) - known,
        known=known,
        expired=len(tokens) - len(by_key),
        without_user=sum(token.user_pk is None for token in tokens),
        sessions_ended=_end([token for token, _ in by_key.values()], using=using, dry_run=dry_run),
    )


def _row(
    key: UUID, token: OldToken, end: datetime, moment: Callable[[datetime], object]
) -> tuple[Any, ...]:
    """Return the values of ``_COLUMNS``; ``moment`` returns one as the database takes it."""
    made_at = token.blacklisted_at or clock.now()
    return (
        key.hex,
        BlacklistEntry.Scope.TOKEN.value,
        entries.readable(token.jti),
        token.user_pk,
        Reason.IMPORTED.value,
        str(moment(made_at)),
        str(moment(end)),
    )


def _end(tokens: list[OldToken], *, using: str, dry_run: bool) -> int:
    """End the sessions that continue these tokens; return how many.

    A token of a session of ours may have been blacklisted because an old server refreshed it. Then
    the session has another token by now (``logins``), and goes on.
    """
    rows = TokenSession.objects.using(using)
    if not rows.exists():  # before the first server of ours has started
        return 0
    jtis = {UUID(token.sid): token.jti for token in tokens if token.sid}
    adopted = {UUID(token.continued_by) for token in tokens if not token.sid}
    found = rows.filter(sid__in=[*jtis, *adopted]).values_list("sid", "refresh_jti")
    sids = [sid for sid, jti in found if sid in adopted or jtis[sid] == jti]
    if dry_run or not sids:
        return len(sids)
    ended = rows.filter(sid__in=sids)
    return sessions.end_many(ended, reason=Reason.IMPORTED, using=using, sids=sids)
