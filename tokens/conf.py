"""The app's typed settings, read from Django's settings at each use.

Nothing is copied at import, so ``override_settings`` just works. If simplejwt has a setting for
something, it stays in ``SIMPLE_JWT``. We read the few names we need from there directly, because
simplejwt rebinds its own settings object on a change and modules that imported it keep the old one.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import TypeVar, cast

from django.conf import settings

T = TypeVar("T")

_STRICT = timedelta(0)

SESSION_CLAIM = "sid"

EVENTS = ("password_change", "deactivation", "deletion")


class Conf:
    """The ``TOKENS_*`` settings."""

    @property
    def TOKENS_CLEANUP_INTERVAL(self) -> timedelta:
        """How often the cleanup should succeed. ``--if-due`` and ``overdue`` use it."""
        return getattr(settings, "TOKENS_CLEANUP_INTERVAL", timedelta(hours=24))

    @property
    def TOKENS_CLEANUP_MARGIN(self) -> timedelta:
        """How long to keep rows after expiry and leeway, in case clocks differ."""
        return getattr(settings, "TOKENS_CLEANUP_MARGIN", timedelta(minutes=5))

    @property
    def TOKENS_RETENTION(self) -> timedelta:
        """How much longer to keep expired rows, for audits."""
        return getattr(settings, "TOKENS_RETENTION", timedelta(0))

    @property
    def TOKENS_CLEANUP_BATCH_SECONDS(self) -> float:
        """The target duration of one cleanup batch, in seconds."""
        return getattr(settings, "TOKENS_CLEANUP_BATCH_SECONDS", 0.1)

    @property
    def TOKENS_ROTATION_GRACE(self) -> timedelta:
        """How long a used refresh token still gets the same successor again."""
        return getattr(settings, "TOKENS_ROTATION_GRACE", timedelta(seconds=10))

    @property
    def TOKENS_CHECK_MAX_AGE(self) -> timedelta:
        """The maximum age of the in-process snapshot that checks use; zero asks the database."""
        try:
            # Each check asks. What was read once stands in Django's object until settings change,
            # and its own way to look there takes four times as long.
            found = object.__getattribute__(settings, "TOKENS_CHECK_MAX_AGE")
        except AttributeError:
            return getattr(settings, "TOKENS_CHECK_MAX_AGE", _STRICT)
        return cast(timedelta, found)

    @property
    def TOKENS_PATCH_SIMPLEJWT(self) -> bool:
        """Whether simplejwt's own token classes check the blacklist and start sessions too."""
        return getattr(settings, "TOKENS_PATCH_SIMPLEJWT", True)

    @property
    def TOKENS_SESSION_CLAIM(self) -> str:
        """The claim that carries the id of a token's session."""
        return getattr(settings, "TOKENS_SESSION_CLAIM", SESSION_CLAIM)

    @property
    def TOKENS_LONGEST_LIFETIME(self) -> timedelta | None:
        """How long a token without a session may live. None: for ever, as may users' entries."""
        return getattr(settings, "TOKENS_LONGEST_LIFETIME", timedelta(days=400))

    @property
    def TOKENS_SESSION_METADATA(self) -> bool:
        """Whether to store the IP address and user agent of a session's last use."""
        return getattr(settings, "TOKENS_SESSION_METADATA", True)

    @property
    def TOKENS_MAX_SESSIONS_PER_USER(self) -> int | None:
        """How many sessions a user may have; another login ends the oldest. None: no limit."""
        return getattr(settings, "TOKENS_MAX_SESSIONS_PER_USER", None)

    @property
    def TOKENS_REVOKE_ON(self) -> Collection[str]:
        """Which changes to a user end all of the user's sessions."""
        return getattr(settings, "TOKENS_REVOKE_ON", EVENTS)


class SimpleJWT:
    """The names in ``SIMPLE_JWT`` that define what a token means, with simplejwt's defaults."""

    def _get(self, name: str, *, default: T) -> T:
        return cast(T, (getattr(settings, "SIMPLE_JWT", None) or {}).get(name, default))

    @property
    def ACCESS_TOKEN_LIFETIME(self) -> timedelta:
        return self._get("ACCESS_TOKEN_LIFETIME", default=timedelta(minutes=5))

    @property
    def REFRESH_TOKEN_LIFETIME(self) -> timedelta:
        return self._get("REFRESH_TOKEN_LIFETIME", default=timedelta(days=1))

    @property
    def SLIDING_TOKEN_LIFETIME(self) -> timedelta:
        return self._get("SLIDING_TOKEN_LIFETIME", default=timedelta(minutes=5))

    @property
    def SLIDING_TOKEN_REFRESH_EXP_CLAIM(self) -> str:
        return self._get("SLIDING_TOKEN_REFRESH_EXP_CLAIM", default="refresh_exp")

    @property
    def ROTATE_REFRESH_TOKENS(self) -> bool:
        return self._get("ROTATE_REFRESH_TOKENS", default=False)

    @property
    def JTI_CLAIM(self) -> str:
        return self._get("JTI_CLAIM", default="jti")

    @property
    def TOKEN_TYPE_CLAIM(self) -> str | None:
        return self._get("TOKEN_TYPE_CLAIM", default="token_type")

    @property
    def USER_ID_CLAIM(self) -> str:
        return self._get("USER_ID_CLAIM", default="user_id")

    @property
    def USER_ID_FIELD(self) -> str:
        return self._get("USER_ID_FIELD", default="id")

    @property
    def ISSUER(self) -> str | None:
        return self._get("ISSUER", default=None)

    @property
    def LEEWAY(self) -> timedelta:
        """How long after ``exp`` simplejwt still accepts a token."""
        leeway: float | timedelta | None = self._get("LEEWAY", default=None)
        return leeway if isinstance(leeway, timedelta) else timedelta(seconds=leeway or 0)


conf = Conf()
simplejwt = SimpleJWT()
