"""The rule of refusal: one SQL expression that any query can include."""

from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Expression, Q

from . import clock, old_tables
from .claims import Claims
from .conf import simplejwt
from .keys import adopted_sid, key_for
from .models import BlacklistEntry, TokenSession
from .querysets import BlacklistQuerySet


class Refused(Expression):
    """Whether a token with these claims is refused.

    The token is refused if the blacklist holds the key of its jti or of its session. If it names
    no session, it is refused if the blacklist holds the key of the session that continues it, or
    that of its user with an ``issued_before`` that is not earlier than its ``iat`` (whole seconds:
    a tie refuses), or if it lives longer than TOKENS_LONGEST_LIFETIME. Expired entries count too,
    because whether the cleanup has run must not change an answer. A token that needs its session is
    also refused if the row of that session is gone.

    While simplejwt's tables are there, they refuse too what they blacklist: a token without a
    session, and a refresh token of any kind (``is_refresh``), which an old server can blacklist.

    ``used_up`` overlooks the entry of the token's own jti.

    The SQL is written by hand: each request asks this, and the ORM takes several times as long to
    build the subquery as the database takes to answer it.
    """

    output_field = BooleanField()

    def __init__(self, claims: Claims, *, is_refresh: bool = False, used_up: bool = False) -> None:
        super().__init__()
        self.claims, self.is_refresh, self.used_up = claims, is_refresh, used_up

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        claims, name = self.claims, connection.ops.quote_name
        if claims.lives_too_long:
            return "(1 = 1)", ()
        field = BlacklistEntry._meta.pk
        keys = keys_refusing(claims, used_up=self.used_up)
        values = [field.get_db_prep_value(key, connection) for key in keys]
        sql = f"SELECT 1 FROM {name(BlacklistEntry._meta.db_table)} WHERE {name('key')}"  # noqa: S608
        sql += f" IN ({', '.join(['%s'] * len(values))})"
        if claims.sid is None:
            sql += " AND (issued_before IS NULL OR issued_before >= %s)"
            earliest = clock.floor(claims.issued_at, connection.alias)
            values.append(connection.ops.adapt_datetimefield_value(earliest))
        questions = [f"EXISTS({sql})"]
        if claims.needs_session:
            table = name(TokenSession._meta.db_table)
            questions.append(f"NOT EXISTS(SELECT 1 FROM {table} WHERE sid = %s)")  # noqa: S608
            values.append(field.get_db_prep_value(UUID(claims.sid), connection))
        if (claims.sid is None or self.is_refresh) and old_tables.are_asked(connection.alias):
            questions.append(f"EXISTS({old_tables.blacklisted(connection.alias)})")
            values.append(claims.jti)
        return f"({' OR '.join(questions)})", tuple(values)


def keys_refusing(claims: Claims, *, used_up: bool = False) -> list[UUID]:
    """Return the keys of the entries that may refuse a token with these claims.

    An entry for a user also has an ``issued_before``, which decides. ``used_up`` leaves out the
    entry of the token's own jti.
    """
    issuer = claims.issuer
    keys = [] if used_up else [key_for("token", claims.jti, issuer=issuer)]
    if claims.sid is not None:
        return [*keys, UUID(claims.sid)]
    keys.append(UUID(adopted_sid(claims.jti, issuer=issuer, issued_at=claims.issued_at)))
    if claims.user_id is not None:
        # Users are ours, so only a configured issuer counts, not one that the token names.
        keys.append(key_for("user", claims.user_id, issuer=simplejwt.ISSUER or ""))
    return keys


def entries_refusing(claims: Claims, *, using: str) -> BlacklistQuerySet:
    """Return the entries that refuse a token with these claims."""
    found = BlacklistEntry.objects.using(using).filter(key__in=keys_refusing(claims))
    if claims.sid is None:
        earliest = clock.floor(claims.issued_at, using)
        found = found.filter(Q(issued_before=None) | Q(issued_before__gte=earliest))
    return found
