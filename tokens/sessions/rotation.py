"""Rotate the refresh token of a session: a compare-and-swap on the session's row.

The part of ``sessions`` that each refresh runs. It decides who wins; what follows for the session
and who hears of it is decided there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import CharField

from .. import clock, origin
from ..claims import Claims
from ..conf import conf
from ..exceptions import TokenRevoked
from ..models import TokenSession


@dataclass(frozen=True, slots=True)
class Successor:
    """The refresh token that follows another: its id and its two moments."""

    jti: str
    issued_at: datetime
    expires_at: datetime


def replace(
    session: TokenSession,
    claims: Claims,
    new: Successor,
    *,
    using: str,
    also: Mapping[str, Any],
) -> Successor | None:
    """Replace the refresh token ``claims`` of ``session`` by ``new``; return the one that counts.

    The statement sets the columns ``also`` as well.

    That is ``new`` if this client won. Within TOKENS_ROTATION_GRACE it is the winner's, and later,
    or for an older ancestor, None: the token was reused. Raises TokenRevoked if the session ended
    meanwhile.
    """
    if session.refresh_jti == claims.jti:
        if advance(session, claims, new, using=using, also=also):
            return new
        session = reread(session, using=using)
    return graceful(session, claims)


def advance(
    session: TokenSession,
    claims: Claims,
    new: Successor,
    *,
    using: str,
    also: Mapping[str, Any],
) -> bool:
    """Make ``new`` the successor of the used token ``claims``, unless the session was used since.

    Returns whether it was not. One statement.
    """
    return swap(
        session,
        session.refresh_jti,
        using=using,
        refresh_jti=new.jti,
        previous_jti=claims.jti,
        rotated_at=new.issued_at,
        last_used_at=new.issued_at,
        expires_at=new.expires_at,
        **_moved(session),
        **also,
    )


def touch(session: TokenSession, claims: Claims, *, using: str, also: Mapping[str, Any]) -> bool:
    """Record a use of ``session`` that does not rotate; return False if it has a newer token.

    One statement, which sets the columns ``also`` as well.
    """
    now = clock.now()
    return swap(session, claims.jti, using=using, last_used_at=now, **_moved(session), **also)


def swap(session: TokenSession, jti: str, *, using: str, **values: Any) -> bool:
    """Set ``values`` if ``jti`` is still the session's refresh token; return whether it was.

    One statement. SQL by hand, because each refresh runs it, and the ORM takes longer to build it
    than the database to do it.
    """
    connection = connections[using]
    name = connection.ops.quote_name
    field_of: Any = TokenSession._meta.get_field
    columns, parameters = [], []
    for field, value in [(field_of(key), value) for key, value in values.items()]:
        columns.append(f"{name(field.column)} = %s")
        is_text = type(field) is CharField and type(value) is str  # which the database takes as is
        parameters.append(value if is_text else field.get_db_prep_save(value, connection))
    parameters += [field_of("sid").get_db_prep_save(session.sid, connection), jti]
    sql = (
        f"UPDATE {name(TokenSession._meta.db_table)} SET {', '.join(columns)}"  # noqa: S608
        " WHERE sid = %s AND refresh_jti = %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return bool(cursor.rowcount)


def reread(session: TokenSession, *, using: str) -> TokenSession:
    """Return the row as it is now; raise TokenRevoked if it is gone.

    In a caller's transaction at REPEATABLE READ, a plain read on MariaDB would show the state from
    before the winner of the race committed, and the loser would look like a thief.
    """
    rows = TokenSession.objects.using(using).filter(sid=session.sid)
    if transaction.get_connection(using).in_atomic_block:
        rows = rows.select_for_update()
    now = rows.first()
    if now is None:
        raise TokenRevoked
    return now


def graceful(session: TokenSession, claims: Claims) -> Successor | None:
    """Return the successor of the previous refresh token, within TOKENS_ROTATION_GRACE.

    Only the client that won sets ``rotated_at``, so the grace period never renews itself.
    """
    if session.previous_jti != claims.jti or session.rotated_at is None:
        return None
    now, grace = clock.now(), conf.TOKENS_ROTATION_GRACE
    using = session._state.db or DEFAULT_DB_ALIAS
    rotated_at = clock.recorded(session.rotated_at, using, by=now + grace)
    if rotated_at <= now - grace:
        return None
    return Successor(session.refresh_jti, rotated_at, session.expires_at)


def _moved(session: TokenSession) -> dict[str, Any]:
    """Return the columns that change because the session is used elsewhere; usually none."""
    metadata = origin.metadata()
    return {name: value for name, value in metadata.items() if getattr(session, name) != value}
