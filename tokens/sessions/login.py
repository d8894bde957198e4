"""Record a login: a row that is written only if its user is what the login began with.

The part of ``sessions`` that each login runs; only that module imports it.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import connections, transaction
from django.db.models import Exists, F, Value

from .. import databases, origin, retry, users
from ..claims import Claims
from ..exceptions import UserChanged
from ..models import TokenSession


def new(
    user: Any,
    refresh: Claims,
    *,
    auth_hash: str,
    lifetime: timedelta | None,
    continues: Claims | None,
) -> TokenSession:
    """Return the row, not saved, of a login whose refresh token has these claims."""
    return TokenSession(
        sid=UUID(refresh.sid or ""),
        user_id=user.pk,
        refresh_jti=refresh.jti,
        previous_jti=continues.jti if continues else "",
        rotated_at=refresh.issued_at if continues else None,
        auth_hash=auth_hash,
        expires_at=refresh.expires_at,
        lifetime=lifetime,
        **origin.metadata(),
    )


@retry.lost_races
def insert(
    session: TokenSession, user: AbstractBaseUser, *, using: str, unless_known: bool = False
) -> None:
    """Insert ``session`` if its user's row is unchanged. One statement.

    ``unless_known``: only if there is no session of this id, or this raises UserChanged, too.

    It waits for a transaction that is changing the user's row. So a login whose password changes
    meanwhile fails, or its session is there to be ended by whoever changes it.

    Raises UserChanged, and databases.UnsupportedDatabase.
    """
    database = databases.of(connections[using])
    rows = users.unchanged(user)
    same = TokenSession.objects.using(using).filter(sid=session.sid)
    if rows.db != using:
        if unless_known and same.exists():
            raise UserChanged
        _insert_apart(session, user, using=using)
        return
    if unless_known:
        rows = rows.exclude(Exists(same))
    fields = session._meta.concrete_fields
    values: dict[str, Any] = {
        f"new_{field.attname}": Value(getattr(session, field.attname), field) for field in fields
    }
    values["new_user_id"] = F("pk")
    query = rows.annotate(**values).values_list(*values).query
    columns = [str(field.column) for field in fields]
    select, parameters = query.get_compiler(using).as_sql()
    if not database.insert_from_locked(session._meta.db_table, columns, select, parameters):
        raise UserChanged
    session._state.adding, session._state.db = False, using


def _insert_apart(session: TokenSession, user: AbstractBaseUser, *, using: str) -> None:
    """Insert ``session``, then look at its user, whose row is in another database."""
    session.save(force_insert=True, using=using)
    try:
        users.check_unchanged(user)
    except UserChanged:
        session.delete(using=using)
        raise


def beyond(limit: int, user_pk: Any, *, using: str) -> list[UUID]:
    """Return the ids of the user's live sessions but the newest ``limit``.

    That may be the newest login's own: of several logins at once, each leaves the same sessions.
    """
    rows = TokenSession.objects.using(using).of_user(user_pk).live()
    # Not by the id alone: a session that continues an earlier token has an id of the token's age.
    rows = rows.order_by("-created_at", "-sid")
    if transaction.get_connection(using).in_atomic_block:
        # At REPEATABLE READ, a plain read may not see the login that this one has waited for.
        rows = rows.select_for_update()
    return list(rows.values_list("sid", flat=True)[limit:])
