"""Why the tables refuse a token, in a word for its holder. No decision depends on it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.models import BooleanField, Value

from .. import blacklist, databases, refusal, retry
from ..claims import Claims
from ..exceptions import ClientReason
from ..log import logger
from ..models import BlacklistEntry, TokenSession

# How long to look. A primary key is found in a millisecond, unless somebody holds the table.
SECONDS = 1.0

_Reason = BlacklistEntry.Reason

# Any other reason of an entry is ``revoked`` for the holder.
_WORDS: dict[str, ClientReason] = {
    _Reason.ROTATED: ClientReason.REUSED,
    _Reason.REUSE: ClientReason.REUSED,
    _Reason.LIMIT: ClientReason.ENDED_BY_LIMIT,
    _Reason.PASSWORD_CHANGE: ClientReason.PASSWORD_CHANGED,
}

_Row = tuple[str, datetime, bool]


def recorded_reason(claims: Claims, *, in_session: bool) -> ClientReason | None:
    """Return why the tables refuse a token with these claims; None if they don't tell.

    Costs one statement, so call it for a token that is refused already. ``in_session`` also asks
    whether the session of a refresh token goes on with a newer one. Whatever fails, and whatever
    takes longer than SECONDS, the answer is None.
    """
    try:
        rows = _rows(claims, in_session=in_session, using=blacklist.database())
    except (DatabaseError, InterfaceError) as error:  # the token is refused in any case
        logger.info(
            "why a token is refused can't be looked up: %s",
            retry.describe(error),
            extra={"event": "reason_unknown", "error": retry.describe(error)},
        )
        return None
    entries = [(reason, at) for reason, at, is_entry in rows if is_entry]
    if entries:
        # The first counts: what follows ends what has ended. That a token was exchanged for a new
        # one ends nothing.
        reason, _ = min(entries, key=lambda entry: (entry[0] == _Reason.ROTATED, entry[1]))
        return _WORDS.get(reason, ClientReason.REVOKED)
    newer = any(jti != claims.jti for jti, _, _ in rows)
    return ClientReason.REUSED if newer else None


def _rows(claims: Claims, *, in_session: bool, using: str) -> Sequence[_Row]:
    """Return reason and moment of each entry, and the jti that the session's row names."""
    entries = refusal.entries_refusing(claims, using=using).annotate(is_entry=_flag(of=True))
    found = entries.values_list("reason", "created_at", "is_entry")
    if in_session and claims.sid is not None:
        session: Any = TokenSession.objects.using(using).named(claims.sid)
        session = session.annotate(is_entry=_flag(of=False))
        found = found.union(session.values_list("refresh_jti", "created_at", "is_entry"), all=True)
    rows: list[_Row] = databases.questions(using, seconds=SECONDS).must_ask(lambda: list(found))
    return rows


def _flag(*, of: bool) -> Value:
    return Value(of, BooleanField())
