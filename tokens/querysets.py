"""The questions that are asked of the tables, each named by an adjective and spelled once."""

from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models
from django.db.models import Q

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
        """Return the rows that are of no more use at ``cutoff``."""
        return self.filter(expires_at__lt=self.end_before(cutoff))

    def end_before(self, cutoff: datetime) -> datetime:
        """Return before which ``expires_at`` a row is of no more use at ``cutoff``."""
        return clock.floor(cutoff - self.kept_for(), self.db)

    def kept_for(self) -> timedelta:
        """Return for how long after its ``expires_at`` a row is still of use."""
        return timedelta(0)


def oldest_in_force() -> datetime:
    """Return the oldest ``expires_at`` with which an entry may still refuse an acceptable token.

    simplejwt accepts a token for ``LEEWAY`` longer than it lives.
    """
    return clock.now() - simplejwt.LEEWAY


def oldest_login() -> datetime | None:
    """Return until when a login is too old to be refreshed, or None if there is no such limit."""
    limit = conf.TOKENS_SESSION_MAX_AGE
    if limit is None:
        return None
    now = oldest_in_force()
    return None if limit > now - clock.from_epoch(0) else now - limit


# Why few tokens are revoked. Support asks for these, and an index on them alone costs the others
# nothing.
RARE_REASONS = (
    "reuse",
    "password_change",
    "deactivation",
    "deletion",
    "id_change",
    "admin",
    "command",
)


def is_rare() -> Q:
    """Return the condition of the index on entries with a rare reason.

    SQLite knows that a query for one of them may use the index if they are listed like this.
    """
    return reduce(or_, [Q(reason=reason) for reason in RARE_REASONS])


class BlacklistQuerySet(ExpiringQuerySet["BlacklistEntry"]):
    """Blacklist entries."""

    def in_force(self) -> "BlacklistQuerySet":
        """Return the entries that may still refuse a token that would otherwise be accepted."""
        return self.filter(expires_at__gte=clock.floor(oldest_in_force(), self.db))

    def for_good(self) -> "BlacklistQuerySet":
        """Return the entries that never expire: users' ones without TOKENS_LONGEST_LIFETIME."""
        return self.filter(expires_at=clock.end_of_time())

    def about(self, subject: str, *, issuer: str) -> "BlacklistQuerySet":
        """Return the entries for exactly this jti, sid or user id (at most three)."""
        keys = {key_for(scope, subject, issuer=issuer) for scope in ("token", "user")}
        if sid := session_uuid(subject):
            keys.add(sid)
        return self.filter(key__in=keys)


class SessionQuerySet(ExpiringQuerySet["TokenSession"]):
    """Sessions."""

    def kept_for(self) -> timedelta:
        """Keep a row while an access token may live that its last refresh token was used for.

        Whatever ends all of a user's sessions reaches that token by this row. A refresh token works
        until a leeway after its end.
        """
        return simplejwt.LEEWAY + simplejwt.ACCESS_TOKEN_LIFETIME

    def named(self, sid: str) -> "SessionQuerySet":
        """Return the session with this id, if there is one."""
        uuid = session_uuid(sid)
        return self.filter(sid=uuid) if uuid else self.none()

    def of_user(self, pk: Any) -> "SessionQuerySet":
        """Return the sessions of the user with this primary key."""
        return self.filter(user=pk)

    def live(self) -> "SessionQuerySet":
        """Return the sessions that may still be refreshed."""
        rows = self.filter(expires_at__gt=clock.floor(oldest_in_force(), self.db))
        oldest = oldest_login()
        return rows if oldest is None else rows.filter(created_at__gt=clock.floor(oldest, self.db))

    def accepting(self, claims: Claims) -> "SessionQuerySet":
        """Return the session that would still refresh with a refresh token of these claims."""
        newest, now, grace = Q(refresh_jti=claims.jti), clock.now(), conf.TOKENS_ROTATION_GRACE
        in_grace = Q(previous_jti=claims.jti, rotated_at__gt=now - grace)
        if clock.is_local(self.db):
            # A rotation that seems to come is past: its clock time has come twice.
            in_grace &= Q(rotated_at__lte=now + grace)
        return self.named(claims.sid or "").filter(newest | in_grace)


class RunQuerySet(models.QuerySet["CleanupRun"]):
    """Runs of the cleanup."""

    def succeeded(self) -> "RunQuerySet":
        """Return the runs that finished everything there was to do."""
        return self.filter(outcome="succeeded")

    def successes(self, now: datetime | None = None) -> "RunQuerySet":
        """Return the runs that succeeded, the last one first.

        Given the present moment it overlooks those in the future, which were recorded while a
        clock was wrong. The hour forgives one that finished after ``now`` was read.
        """
        runs = self.succeeded().order_by("-finished_at")
        return runs.filter(finished_at__lt=now + timedelta(hours=1)) if now else runs

    def last_success(self, now: datetime | None = None) -> "CleanupRun | None":
        """Return the run that succeeded last, see ``successes``, or None."""
        return self.successes(now).first()

    def last_success_and_newest(
        self, now: datetime
    ) -> "tuple[CleanupRun | None, CleanupRun | None]":
        """Return the run that succeeded last, and the newest one. One statement."""
        last = models.Subquery(self.successes(now).values("pk")[:1])
        newest = models.Subquery(self.order_by("-pk").values("pk")[:1])
        found: list[Any] = list(
            self.filter(Q(pk=last) | Q(pk=newest)).annotate(last=last).order_by("-pk")
        )
        success = next((run for run in found if run.pk == run.last), None)
        return success, found[0] if found else None
