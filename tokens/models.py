"""The tables: what is refused, who is logged in, when the cleanup ran, and what was imported."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from . import clock
from .databases import PartialIndex
from .querysets import (
    BlacklistQuerySet,
    RunQuerySet,
    SessionQuerySet,
    is_rare,
    oldest_in_force,
    oldest_login,
)


class MomentOfInsertion(models.DateTimeField):  # type: ignore[type-arg]
    """If nothing else is given, the database's clock says when the row is inserted.

    So rows that several hosts insert have moments of one clock. The instance keeps this host's,
    which its row may differ from by as much as clocks do.
    """

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: FBT001
        value = super().pre_save(model_instance, add)
        return clock.DatabaseNow() if add and isinstance(value, clock.Present) else value

    def deconstruct(self) -> Any:
        """A column like any other: a migration need not know this class."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs


# A text that a statement of ours may leave out.
_OPTIONAL: Any = {"blank": True, "default": "", "db_default": ""}


class BlacklistEntry(models.Model):
    """Which tokens are refused, and until when the row is needed. Written by ``blacklist`` only.

    ``subject`` is the jti, sid or user id, for people to read; no token is stored, nor anything
    that can be used as one. ``user`` has no constraint in the database: an entry outlives its
    user, and writing one never waits for a lock on the user's row.

    For audits it says who revoked (``by``, empty if the holder of the token did), what they noted
    down, which device an ended session was on, and where the act came from, if from elsewhere.
    """

    class Scope(models.TextChoices):
        TOKEN = "token", _("one token")
        SESSION = "session", _("a session")
        USER = "user", _("all of a user")

    class Reason(models.TextChoices):
        LOGOUT = "logout", _("logged out")
        LOGOUT_ALL = "logout_all", _("logged out everywhere")
        LOGOUT_OTHERS = "logout_others", _("logged out elsewhere")
        ROTATED = "rotated", _("refreshed")
        REUSE = "reuse", _("refresh token reused")
        PASSWORD_CHANGE = "password_change", _("password changed")
        DEACTIVATION = "deactivation", _("user deactivated")
        DELETION = "deletion", _("user deleted")
        ID_CHANGE = "id_change", _("user id changed")
        LIMIT = "limit", _("too many sessions")
        ADMIN = "admin", _("ended in the admin")
        COMMAND = "command", _("revoked by command")
        REVOKED = "revoked", _("revoked")
        IMPORTED = "imported", _("imported from simplejwt")

    key = models.UUIDField(_("key"), primary_key=True, editable=False)
    scope = models.CharField(_("scope"), max_length=8, choices=Scope)
    subject = models.CharField(_("subject"), max_length=255)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_constraint=False,
    )
    issued_before = models.DateTimeField(_("issued before"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=32, choices=Reason, default=Reason.REVOKED)
    created_at = MomentOfInsertion(_("revoked at"), default=clock.present)
    expires_at = models.DateTimeField(_("needed until"))
    by = models.CharField(_("revoked by"), max_length=255, **_OPTIONAL)
    note = models.CharField(_("note"), max_length=255, **_OPTIONAL)
    ip_address = models.GenericIPAddressField(_("IP address"), null=True, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=255, **_OPTIONAL)
    device_name = models.CharField(_("device name"), max_length=100, **_OPTIONAL)
    by_ip_address = models.GenericIPAddressField(_("revoked from"), null=True, blank=True)
    by_user_agent = models.CharField(_("revoked with"), max_length=255, **_OPTIONAL)

    objects = BlacklistQuerySet.as_manager()

    class Meta:
        verbose_name = _("blacklist entry")
        verbose_name_plural = _("blacklist entries")
        default_permissions = ("view",)  # the others would promise what nobody may do
        permissions = [
            ("unrevoke_blacklistentry", "Can un-revoke (delete) blacklist entries"),
            ("introspect_token", "Can ask whether tokens are accepted or revoked"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="tokens_entry_expires"),
            models.Index(fields=["created_at"], name="tokens_entry_created"),  # for cached checks
            PartialIndex(fields=["reason", "created_at"], rows=is_rare(), name="tokens_entry_rare"),
        ]
        constraints = [
            models.CheckConstraint(
                name="tokens_entry_issued_before_is_for_users",
                condition=Q(scope="user", issued_before__isnull=False)
                | (~Q(scope="user") & Q(issued_before=None)),
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_scope_display()} {self.subject}"

    @property
    def in_force(self) -> bool:
        """Whether the entry may still refuse a token that would otherwise be accepted."""
        return clock.latest(self.expires_at, _alias(self)) >= oldest_in_force()


class Lookup(BlacklistEntry):
    """The admin's page "Look up a token": no table, only a place in the admin's index."""

    class Meta:
        proxy = True
        verbose_name = _("token")
        verbose_name_plural = _("look up a token")
        default_permissions = ()


class TokenSession(models.Model):
    """One login on one device, updated in place. Written by ``sessions`` only.

    The session is live until ``expires_at``: it may be refreshed. The row stays until no access
    token of the session can be accepted any more. Ending a session deletes it.
    ``user`` has no constraint in the database, so that a login takes no lock on the user's row
    while a password change that ends sessions holds one.
    """

    sid = models.UUIDField(_("session id"), primary_key=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        related_name="+",
        db_constraint=False,
    )
    refresh_jti = models.CharField(_("id of the newest refresh token"), max_length=255)
    previous_jti = models.CharField(_("id of the one before"), max_length=255, blank=True)
    rotated_at = models.DateTimeField(_("rotated at"), null=True, blank=True)
    auth_hash = models.CharField(_("hash of the password's hash"), max_length=128, blank=True)
    created_at = models.DateTimeField(_("logged in at"), default=clock.now)
    last_used_at = models.DateTimeField(_("last refreshed at"), default=clock.now)
    expires_at = models.DateTimeField(_("expires at"))
    # Of each of its refresh tokens; None: as long as the setting says.
    lifetime = models.DurationField(_("lifetime of refresh tokens"), null=True, blank=True)
    ip_address = models.GenericIPAddressField(_("IP address"), null=True, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=255, blank=True)
    device_name = models.CharField(_("device name"), max_length=100, **_OPTIONAL)

    objects = SessionQuerySet.as_manager()

    # On an instance, not in the row: it ended as soon as it had begun.
    has_ended = False

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        default_permissions = ("view",)
        permissions = [("end_tokensession", "Can end sessions")]
        indexes = [models.Index(fields=["expires_at"], name="tokens_session_expires")]

    def __str__(self) -> str:
        return str(self.sid)

    @property
    def is_live(self) -> bool:
        """Whether the session may still be refreshed."""
        oldest = oldest_login()
        may_go_on = oldest is None or self.created_at > oldest
        return may_go_on and self.expires_at >= oldest_in_force()


class CleanupRun(models.Model):
    """One run of the cleanup: lease, heartbeat and history in one. Written by ``cleanup`` only.

    Only the running row fills the unique ``slot``, so one run is active at a time, however many
    hosts there are.
    """

    class Outcome(models.TextChoices):
        RUNNING = "running", _("running")
        SUCCEEDED = "succeeded", _("succeeded")
        PARTIAL = "partial", _("stopped early")
        FAILED = "failed", _("failed")
        ABANDONED = "abandoned", _("abandoned")

    # A run that has not been heard of for this long is dead. It is heard of between batches.
    LEASE = timedelta(minutes=10)

    started_at = models.DateTimeField(_("started at"), default=clock.now)
    heartbeat_at = models.DateTimeField(_("heartbeat at"), default=clock.now)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    outcome = models.CharField(
        _("outcome"), max_length=16, choices=Outcome, default=Outcome.RUNNING
    )
    trigger = models.CharField(_("trigger"), max_length=32)
    host = models.CharField(_("host"), max_length=255, blank=True)
    entries_removed = models.PositiveBigIntegerField(_("entries removed"), default=0)
    sessions_removed = models.PositiveBigIntegerField(_("sessions removed"), default=0)
    runs_removed = models.PositiveBigIntegerField(_("run records removed"), default=0)
    batches = models.PositiveIntegerField(_("batches"), default=0)
    longest_batch = models.FloatField(_("longest batch (seconds)"), default=0)
    entries_order = models.CharField(_("order of entries"), max_length=8, blank=True)
    sessions_order = models.CharField(_("order of sessions"), max_length=8, blank=True)
    error = models.TextField(_("error"), blank=True)
    slot = models.PositiveSmallIntegerField(null=True, blank=True, unique=True, editable=False)

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("cleanup run")
        verbose_name_plural = _("cleanup runs")
        default_permissions = ("view",)
        permissions = [("run_cleanup", "Can run the cleanup")]
        indexes = [
            models.Index(fields=["outcome", "finished_at"], name="tokens_run_outcome"),
            models.Index(fields=["started_at"], name="tokens_run_started"),
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M} {self.get_outcome_display()}"

    def is_alive(self, now: datetime) -> bool:
        """Return whether it was heard of lately; ``now`` is by the database's clock."""
        heartbeat = clock.recorded(self.heartbeat_at, _alias(self), by=now + self.LEASE)
        # A heartbeat in the future is one of a clock that was wrong.
        return now - self.LEASE < heartbeat < now + self.LEASE

    def outcome_at(self, now: datetime) -> Outcome:
        """Return the outcome. A run that was killed is "abandoned" before another one marks it."""
        outcome = self.Outcome(self.outcome)
        dead = outcome is self.Outcome.RUNNING and not self.is_alive(now)
        return self.Outcome.ABANDONED if dead else outcome


class BlacklistImport(models.Model):
    """A copy of simplejwt's blacklist that ran to its end. Written by ``simplejwt_import`` only.

    ``last_blacklisted`` is the id of the newest row of simplejwt's that was read: a row with a
    greater one was added since. From ``dropping_since`` on, checks no longer ask simplejwt's
    tables, because they are about to be dropped. The rows go when the tables are gone, so that a
    later installation of simplejwt's app begins anew.
    """

    finished_at = models.DateTimeField(_("finished at"), default=clock.now)
    last_blacklisted = models.BigIntegerField(_("id of the newest row that was read"), default=0)
    dropping_since = models.DateTimeField(_("dropping since"), null=True, blank=True)

    class Meta:
        verbose_name = _("import of simplejwt's blacklist")
        verbose_name_plural = _("imports of simplejwt's blacklist")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.finished_at:%Y-%m-%d %H:%M}"


def _alias(row: models.Model) -> str:
    """Return the alias of the database that ``row`` was read from."""
    return row._state.db or DEFAULT_DB_ALIAS
