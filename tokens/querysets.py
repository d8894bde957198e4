"""The questions that are asked of the tables, each named by an adjective and spelled once."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections, models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast, Concat, Greatest, Substr

from . import clock
from .claims import Claims
from .conf import conf, simplejwt
from .keys import key_for, session_uuid

if TYPE_CHECKING:
    from .models import BlacklistEntry, CleanupRun, TokenSession  # noqa: F401

M = TypeVar("M", bound=models.Model)


class ExpiringQuerySet(models.QuerySet[M]):
    """Rows that have an ``expires_at`` with an index on it."""

    def expired(self, cutoff: datetime) -> "ExpiringQuerySet[M]":
        """Return the rows that ended before ``cutoff``."""
        return self.filter(expires_at__lt=cutoff)


def oldest_in_force() -> datetime:
    """Return the oldest ``expires_at`` with which an entry may still refuse an acceptable token.

    simplejwt accepts a token for ``LEEWAY`` longer than it lives.
    """
    return clock.now() - simplejwt.LEEWAY


_KEEP_THE_LATER_END = {
    "mysql": (
        "ON DUPLICATE KEY UPDATE expires_at = GREATEST({table}.expires_at, VALUES(expires_at))"
    ),
    "postgresql": (
        "ON CONFLICT (key) DO UPDATE SET"
        " expires_at = GREATEST({table}.expires_at, EXCLUDED.expires_at)"
    ),
    "sqlite": (
        "ON CONFLICT (key) DO UPDATE SET expires_at = MAX({table}.expires_at, EXCLUDED.expires_at)"
    ),
}


def _with_hyphens(digits: Any) -> Any:
    """Return the expression for a UUID's text where the column holds its 32 digits."""
    parts = [Substr(digits, start, length) for start, length in _UUID_PARTS]
    return Concat(parts[0], *(part for tail in parts[1:] for part in (Value("-"), tail)))


_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


class BlacklistQuerySet(ExpiringQuerySet["BlacklistEntry"]):
    """Blacklist entries."""

    def in_force(self) -> "BlacklistQuerySet":
        """Return the entries that may still refuse a token that would otherwise be accepted."""
        return self.filter(expires_at__gte=oldest_in_force())

    def for_good(self) -> "BlacklistQuerySet":
        """Return the entries that never expire: one for a user who logged out everywhere."""
        return self.filter(expires_at=clock.end_of_time())

    def insert_for(
        self, sessions: "SessionQuerySet", *, reason: str, now: datetime, until: datetime
    ) -> bool:
        """Insert an entry for each of these sessions; those that are there are only extended.

        One statement, whatever their number. An entry is made ``now`` and ends with its session,
        but not before ``until``. Returns whether anything was written.
        """
        connection = connections[self.db]
        sid: Any = Cast("sid", models.CharField())
        if not connection.features.has_native_uuid_field:
            sid = _with_hyphens(sid)
        columns = {
            "key": F("sid"),
            "scope": Value("session"),
            "subject": sid,
            "user_id": F("user_id"),
            "reason": Value(reason),
            "created_at": Value(now, models.DateTimeField()),
            "expires_at": Greatest("expires_at", Value(until, models.DateTimeField())),
        }
        selected = sessions.order_by().annotate(
            **{f"new_{name}": columns[name] for name in columns}
        )
        query = selected.values_list(*(f"new_{name}" for name in columns)).query
        select, parameters = query.get_compiler(self.db).as_sql()
        table = connection.ops.quote_name(self.model._meta.db_table)
        names = ", ".join(connection.ops.quote_name(name) for name in columns)
        conflict = _KEEP_THE_LATER_END[connection.vendor].format(table=table)
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} ({names}) {select} {conflict}", parameters)
            return bool(cursor.rowcount > 0)

    def about(self, subject: str, *, issuer: str) -> "BlacklistQuerySet":
        """Return the entries for exactly this jti, sid or user id (at most three)."""
        keys = {key_for(scope, subject, issuer=issuer) for scope in ("token", "session", "user")}
        return self.filter(key__in=keys)


class SessionQuerySet(ExpiringQuerySet["TokenSession"]):
    """Live sessions."""

    def named(self, sid: str) -> "SessionQuerySet":
        """Return the session with this id, if there is one."""
        uuid = session_uuid(sid)
        return self.filter(sid=uuid) if uuid else self.none()

    def of_user(self, pk: Any) -> "SessionQuerySet":
        """Return the sessions of the user with this primary key."""
        return self.filter(user=pk)

    def live(self) -> "SessionQuerySet":
        """Return the sessions that may still be refreshed."""
        return self.filter(expires_at__gt=clock.now() - simplejwt.LEEWAY)

    def swap(self, session: "TokenSession", jti: str, **values: Any) -> bool:
        """Set ``values`` if ``jti`` is still the session's refresh token; return whether it was.

        The compare-and-swap of a refresh, in one statement. SQL by hand, because each refresh
        runs it, and the ORM takes longer to build it than the database to do it.
        """
        connection = connections[self.db]
        name = connection.ops.quote_name
        field_of: Any = self.model._meta.get_field
        columns, parameters = [], []
        for field, value in [(field_of(key), value) for key, value in values.items()]:
            columns.append(f"{name(field.column)} = %s")
            parameters.append(field.get_db_prep_save(value, connection))
        parameters += [field_of("sid").get_db_prep_save(session.sid, connection), jti]
        sql = (
            f"UPDATE {name(self.model._meta.db_table)} SET {', '.join(columns)}"  # noqa: S608
            " WHERE sid = %s AND refresh_jti = %s"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return bool(cursor.rowcount)

    def accepting(self, claims: Claims) -> "SessionQuerySet":
        """Return the session that would still refresh with a refresh token of these claims."""
        newest = Q(refresh_jti=claims.jti)
        in_grace = Q(
            previous_jti=claims.jti, rotated_at__gt=clock.now() - conf.TOKENS_ROTATION_GRACE
        )
        return self.named(claims.sid or "").filter(newest | in_grace)


class RunQuerySet(models.QuerySet["CleanupRun"]):
    """Runs of the cleanup."""

    def succeeded(self) -> "RunQuerySet":
        """Return the runs that finished everything there was to do."""
        return self.filter(outcome="succeeded")

    def last_success(self, now: datetime | None = None) -> "CleanupRun | None":
        """Return the run that succeeded last, or None.

        Given the present moment it overlooks those in the future, which were recorded while a
        clock was wrong. The hour forgives one that finished after ``now`` was read.
        """
        runs = self.succeeded().order_by("-finished_at")
        return (runs.filter(finished_at__lt=now + timedelta(hours=1)) if now else runs).first()
