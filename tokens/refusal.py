"""The rule of refusal: one SQL expression that any query can include."""

from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Expression

from .claims import Claims
from .conf import simplejwt
from .keys import key_for
from .models import BlacklistEntry, TokenSession


class Refused(Expression):
    """Whether a token with these claims is refused.

    The token is refused if the blacklist holds the key of its jti or of its session. If it names
    no session, it is refused if the blacklist holds the key of its user with an ``issued_before``
    that is not earlier than its ``iat`` (whole seconds: a tie refuses), or if it lives longer than
    TOKENS_LONGEST_LIFETIME. Expired entries count too, because whether the cleanup has run must not
    change an answer. A token that needs its session is also refused if the row of that session is
    gone.

    The SQL is written by hand: each request asks this, and the ORM takes several times as long to
    build the subquery as the database takes to answer it.
    """

    output_field = BooleanField()

    def __init__(self, claims: Claims) -> None:
        super().__init__()
        self.claims = claims

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        claims, name = self.claims, connection.ops.quote_name
        if claims.lives_too_long:
            return "(1 = 1)", ()
        keys = [key_for("token", claims.jti, issuer=claims.issuer)]
        if claims.sid is not None:
            keys.append(UUID(claims.sid))
        elif claims.user_id is None:
            keys *= 2  # the statement takes two; no user's entry counts for a guest's token
        else:
            # Users are ours, so only a configured issuer counts, not one that the token names.
            keys.append(key_for("user", claims.user_id, issuer=simplejwt.ISSUER or ""))
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
            values.append(values[1])
        return sql, tuple(values)
