"""The app's typed settings, read from Django's settings at each use.

Nothing is copied at import, so ``override_settings`` just works. If simplejwt has a setting for
something, it stays in ``SIMPLE_JWT``. We read the few names we need from there directly, because
simplejwt rebinds its own settings object on a change and modules that imported it keep the old one.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar

from django.conf import Settings, settings

T = TypeVar("T")

# What Django's settings have been asked for before stands here until it changes. Each check reads
# several settings, and Django's own way to look here takes several times as long.
_known: dict[str, Any] = object.__getattribute__(settings, "__dict__")
_UNKNOWN = object()
_NOTHING: Mapping[str, Any] = {}

_STRICT = timedelta(0)
_LONGEST_LIFETIME = timedelta(days=400)

SESSION_CLAIM = "sid"

EVENTS = ("password_change", "deactivation", "deletion")

ACCESS, REFRESH = "access", "refresh"  # the fields of answers, and what TOKENS_COOKIES may name
_NO_COOKIES: Collection[str] = ()


def given(name: str, *, default: T) -> T:
    """Return the setting as it is now."""
    value: T = _known.get(name, _UNKNOWN)
    if value is _UNKNOWN:
        wrapped = _known.get("_wrapped")
        if type(wrapped) is Settings and name not in wrapped.__dict__:
            return default  # Django would raise AttributeError, which takes ten times as long
        value = getattr(settings, name, default)
    return value


class Conf:
    """The ``TOKENS_*`` settings."""

    @property
    def TOKENS_CLEANUP_INTERVAL(self) -> timedelta:
        """How often the cleanup should succeed. ``--if-due`` and ``overdue`` use it."""
        return given("TOKENS_CLEANUP_INTERVAL", default=timedelta(hours=24))

    @property
    def TOKENS_CLEANUP_MARGIN(self) -> timedelta:
        """How long to keep rows after expiry and leeway, in case clocks differ."""
        return given("TOKENS_CLEANUP_MARGIN", default=timedelta(minutes=5))

    @property
    def TOKENS_RETENTION(self) -> timedelta:
        """How much longer to keep expired rows, for audits."""
        return given("TOKENS_RETENTION", default=timedelta(0))

    @property
    def TOKENS_CLEANUP_BATCH_SECONDS(self) -> float:
        """The target duration of one cleanup batch, in seconds."""
        return given("TOKENS_CLEANUP_BATCH_SECONDS", default=0.1)

    @property
    def TOKENS_ROTATION_GRACE(self) -> timedelta:
        """How long a used refresh token still gets the same successor again."""
        return given("TOKENS_ROTATION_GRACE", default=timedelta(seconds=10))

    @property
    def TOKENS_CHECK_MAX_AGE(self) -> timedelta:
        """The maximum age of the in-process snapshot that checks use; zero asks the database."""
        found: timedelta = _known.get("TOKENS_CHECK_MAX_AGE", _UNKNOWN)  # each check asks twice
        return given("TOKENS_CHECK_MAX_AGE", default=_STRICT) if found is _UNKNOWN else found

    @property
    def TOKENS_PATCH_SIMPLEJWT(self) -> bool:
        """Whether simplejwt's own token classes check the blacklist and start sessions too."""
        return given("TOKENS_PATCH_SIMPLEJWT", default=True)

    @property
    def TOKENS_SESSION_CLAIM(self) -> str:
        """The claim that carries the id of a token's session."""
        return given("TOKENS_SESSION_CLAIM", default=SESSION_CLAIM)

    @property
    def TOKENS_SESSION_MAX_AGE(self) -> timedelta | None:
        """How long after the login its refresh tokens may be used. None: no limit."""
        return given("TOKENS_SESSION_MAX_AGE", default=None)

    @property
    def TOKENS_LONGEST_LIFETIME(self) -> timedelta | None:
        """How long a token without a session may live. None: for ever, as may users' entries."""
        return given("TOKENS_LONGEST_LIFETIME", default=_LONGEST_LIFETIME)

    @property
    def TOKENS_SESSION_METADATA(self) -> bool:
        """Whether to store the IP address and user agent of a session's last use."""
        return given("TOKENS_SESSION_METADATA", default=True)

    @property
    def TOKENS_MAX_SESSIONS_PER_USER(self) -> int | None:
        """How many sessions a user may have; another login ends the oldest. None: no limit."""
        return given("TOKENS_MAX_SESSIONS_PER_USER", default=None)

    @property
    def TOKENS_REVOKE_ON(self) -> Collection[str]:
        """Which changes to a user end all of the user's sessions."""
        return given("TOKENS_REVOKE_ON", default=EVENTS)

    @property
    def TOKENS_COOKIES(self) -> Collection[str]:
        """Which tokens browsers keep in cookies: none, "refresh", or "refresh" and "access"."""
        return given("TOKENS_COOKIES", default=_NO_COOKIES)

    @property
    def TOKENS_COOKIE_SAMESITE(self) -> str:
        """The attribute SameSite of the cookies: "Lax", "Strict" or "None"."""
        return given("TOKENS_COOKIE_SAMESITE", default="Lax")

    @property
    def TOKENS_COOKIE_SECURE(self) -> bool:
        """Whether browsers send the cookies over HTTPS only. False while DEBUG is on."""
        return given("TOKENS_COOKIE_SECURE", default=not settings.DEBUG)

    @property
    def TOKENS_COOKIE_DOMAIN(self) -> str | None:
        """The domain that gets the cookies, with its subdomains. None: the host that set them."""
        return given("TOKENS_COOKIE_DOMAIN", default=None)

    @property
    def TOKENS_COOKIE_PATH(self) -> str | None:
        """The path of the refresh cookie. None: that of the include with the endpoints."""
        return given("TOKENS_COOKIE_PATH", default=None)


class _Setting(Generic[T]):
    """A name in ``SIMPLE_JWT``, read at each use. An instance may have a value of its own."""

    def __init__(self, default: T) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> T:
        value: T = (_known.get("SIMPLE_JWT") or _simple_jwt()).get(self._name, self.default)
        return value


def _simple_jwt() -> Mapping[str, Any]:
    return given("SIMPLE_JWT", default=_NOTHING) or _NOTHING


class SimpleJWT:
    """The names in ``SIMPLE_JWT`` that define what a token means, with simplejwt's defaults."""

    ACCESS_TOKEN_LIFETIME = _Setting(timedelta(minutes=5))
    REFRESH_TOKEN_LIFETIME = _Setting(timedelta(days=1))
    SLIDING_TOKEN_LIFETIME = _Setting(timedelta(minutes=5))
    SLIDING_TOKEN_REFRESH_EXP_CLAIM = _Setting("refresh_exp")
    ROTATE_REFRESH_TOKENS = _Setting(default=False)
    JTI_CLAIM = _Setting("jti")
    TOKEN_TYPE_CLAIM = _Setting[str | None]("token_type")
    USER_ID_CLAIM = _Setting("user_id")
    USER_ID_FIELD = _Setting("id")
    ISSUER = _Setting[str | None](None)

    @property
    def LEEWAY(self) -> timedelta:
        """How long after ``exp`` simplejwt still accepts a token."""
        leeway = _simple_jwt().get("LEEWAY")
        return leeway if isinstance(leeway, timedelta) else timedelta(seconds=leeway or 0)


class Reading:
    """The settings that decide how the claims of a token are read, as they were at one moment."""

    def __init__(self, simple_jwt: Mapping[str, Any], session_claim: str, use_tz: bool) -> None:  # noqa: FBT001
        self.simple_jwt = simple_jwt
        self.session_claim = session_claim
        self.use_tz = use_tz
        self.issuer = simplejwt.ISSUER
        self.jti_claim = simplejwt.JTI_CLAIM
        self.type_claim = simplejwt.TOKEN_TYPE_CLAIM
        self.user_id_claim = simplejwt.USER_ID_CLAIM
        self.refresh_exp_claim = simplejwt.SLIDING_TOKEN_REFRESH_EXP_CLAIM
        self.access_lifetime = simplejwt.ACCESS_TOKEN_LIFETIME


def reading() -> Reading:
    """Return the settings together, in a fraction of the time; the same object while none changes.

    A project may change a value of SIMPLE_JWT in place, so the values are compared.
    """
    global _reading
    kept = _reading
    simple_jwt = _known.get("SIMPLE_JWT", _UNKNOWN)
    if simple_jwt is _UNKNOWN:
        simple_jwt = _simple_jwt()
    session_claim = given("TOKENS_SESSION_CLAIM", default=SESSION_CLAIM)
    use_tz = _known.get("USE_TZ", _UNKNOWN)
    if use_tz is _UNKNOWN:
        use_tz = given("USE_TZ", default=True)
    if (
        kept is None
        or kept.simple_jwt != simple_jwt
        or kept.session_claim != session_claim
        or kept.use_tz != use_tz
    ):
        _reading = kept = Reading(dict(_simple_jwt()), session_claim, use_tz)
    return kept


_reading: Reading | None = None

conf = Conf()
simplejwt = SimpleJWT()
