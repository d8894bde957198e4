"""The rule of refusal, spelled once, as a question that any query can carry along."""

from typing import Any

from django.db.models import BooleanField, Expression

from .claims import Claims
from .conf import simplejwt
from .keys import key_for, session_uuid
from .models import BlacklistEntry, TokenSession


class Refused(Expression):
    """Whether a token with these claims is refused.

    It is, if the blacklist holds the key of its id, or of its session, or, where it names no
    session, of its user at a moment not before it was issued (whole seconds: a tie refuses).
    Entries that have expired count too: whether cleanup has run must not change an answer. A token
    that needs its session is also refused when that is gone.

    SQL by hand, because each request asks this, and building the subquery by the ORM costs several
    times what the database needs to answer it.
    """

    output_field = BooleanField()

    def __init__(self, claims: Claims) -> None:
        super().__init__()
        self.claims = claims

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        claims, name = self.claims, connection.ops.quote_name
        keys = [key_for("token", claims.jti, issuer=claims.issuer)]
        if claims.sid is not None:
            keys.append(key_for("session", claims.sid, issuer=claims.issuer))
        else:
            # Users are ours, whatever issuer a token names when none is configured.
            keys.append(key_for("user", claims.user_id or "", issuer=simplejwt.ISSUER or ""))
        field = BlacklistEntry._meta.pk
        values = [field.get_db_prep_value(key, connection) for key in keys]
        sql = f"SELECT 1 FROM {name(BlacklistEntry._meta.db_table)} WHERE {name('key')} IN (%s, %s)"  # noqa: S608
        if claims.sid is None:
            sql += " AND (issued_before IS NULL OR issued_before >= %s)"
            values.append(connection.ops.adapt_datetimefield_value(claims.issued_at))
        sql = f"EXISTS({sql})"
        if claims.needs_session:
            table = name(TokenSession._meta.db_table)
            sql = f"({sql} OR NOT EXISTS(SELECT 1 FROM {table} WHERE sid = %s))"  # noqa: S608
            values.append(field.get_db_prep_value(session_uuid(claims.sid or ""), connection))
        return sql, tuple(values)
