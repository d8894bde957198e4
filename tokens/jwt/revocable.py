"""What all token classes share: they are refused once they are revoked."""

import sys
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Self

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt import tokens as base
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError

from .. import blacklist, clock, sessions, users
from ..claims import Claims, Read, read, sid_in
from ..conf import conf, simplejwt
from ..exceptions import TokensError, UserChanged
from ..models import BlacklistEntry
from . import asking
from .asking import left_to_caller
from .asynchronous import AsyncToken
from .backends import ODD_CLAIM

_STATE = "rest_framework_simplejwt.state"
_NO_LEEWAY = timedelta(0)

# Most tokens have a few hundred bytes. We refuse a longer one before anything parses it.
MAX_TOKEN_BYTES = 8192


class LoginOutdated(AuthenticationFailed):
    """The user has changed since the password was checked. DRF answers 401."""

    default_detail: Any = gettext_lazy("The password or the account has changed. Log in again.")
    default_code = "user_changed"


class simplejwt_errors:  # noqa: N801 (callers see a function)
    """Raise simplejwt's TokenError instead of our refusals: its views answer it with 401."""

    # Not a generator: see ``caller_asks_about``.

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, TokensError):
            raise TokenError(_(str(error))) from error


class Lifetime:
    """A lifetime that follows its setting; simplejwt reads the setting once, at import.

    If a project gives simplejwt's own class another lifetime, that counts.
    """

    def __init__(self, setting: str, theirs: Any) -> None:
        self.setting = setting
        self.theirs = theirs
        self.imported = theirs.lifetime

    def __get__(self, instance: object, owner: type | None = None) -> timedelta:
        given: timedelta = self.theirs.lifetime
        if given is not self.imported:
            return given
        found: timedelta = getattr(simplejwt, self.setting)
        return found


class RevocableToken(AsyncToken, base.Token):
    """A token that can be revoked: the mixin of our token classes.

    Constructing one from text verifies it. This takes one statement, and raises simplejwt's
    TokenError if the token is refused, a claim is odd, or the text can't be read.
    """

    @sensitive_variables()
    def __init__(self, token: Any = None, verify: bool = True) -> None:  # noqa: FBT001, FBT002
        try:
            if token is not None and len(token) > MAX_TOKEN_BYTES:
                raise TokenError(_("Token is too long"))
            super().__init__(token, verify)
        except ODD_CLAIM as error:
            raise TokenError(_("Token is invalid")) from error
        if token is not None and self._read is None:
            self._sid = sid_in(self.payload)

    # The id of the session that the token was issued for, if there is one.
    _sid: str | None = None

    _read: Read | None = None

    @property
    def claims(self) -> Claims:
        """The claims that revocation uses. Raises TokenError if one is malformed.

        They are read once, and again only after the payload has changed. A setting that changes
        meanwhile does not count.
        """
        found = self._read
        if found is not None and found.payload == self.payload:
            return found.claims
        with simplejwt_errors():
            return self._claims()

    def _claims(self) -> Claims:
        """Return ``claims``. Raises TokenMalformed."""
        found = self._read
        if found is None or found.payload != self.payload:
            self._read = found = read(self)
        return found.claims

    @property
    def token_backend(self) -> Any:
        """simplejwt's backend, unless the class has one of its own.

        simplejwt finds it by its name for each token, which takes several times as long.
        """
        if self._token_backend is None:
            # Another thread may be about to import it: only ``import_module`` waits for that.
            found = getattr(sys.modules.get(_STATE), "token_backend", None)
            self._token_backend = found or import_module(_STATE).token_backend
        return self._token_backend

    def check_exp(self, claim: str = "exp", current_time: datetime | None = None) -> None:
        """Raise TokenError if the moment in ``claim`` has passed, the leeway considered."""
        ends, now = self.payload.get(claim), current_time or self.current_time
        if type(ends) is int and now.tzinfo is not None:
            # Nearly all tokens: not expired, so only a negative leeway could refuse them. To
            # compare numbers takes a third of the time.
            leeway: timedelta = self.get_token_backend().get_leeway()
            if leeway >= _NO_LEEWAY and ends > now.timestamp():
                return
        super().check_exp(claim, current_time)

    def verify(self) -> None:
        # Not super(): if simplejwt's own blacklist app is installed too, its mixin would ask again.
        base.Token.verify(self)
        try:  # as ``simplejwt_errors`` does; each check comes by here
            claims = self._claims()  # refuses odd ones, even if a caller asks the blacklist
            if self.token is None or left_to_caller.get() is not self.token:
                self._ask(claims)
        except TokensError as error:
            raise TokenError(_(str(error))) from error
        self._sid = claims.sid

    def check_blacklist(self) -> None:
        """Raise TokenError if the token, its session or all tokens of its user are revoked.

        Also if its user may not use it: see ``asking``.
        """
        with simplejwt_errors():
            self._ask(self._claims())

    def blacklist(self, *, reason: str = blacklist.Reason.LOGOUT) -> tuple[BlacklistEntry, bool]:
        """Revoke the token; if it carries a ``sid``, end its whole login.

        Returns the entry and whether it is new, as simplejwt's ``blacklist()`` does.
        """
        return sessions.end(self.claims, reason=reason)

    # If simplejwt's own blacklist app is installed too, its mixin would store the token's text.

    @classmethod
    def for_user(cls, user: Any) -> Self:
        """Return a token that names ``user``. One statement.

        Raises LoginOutdated if the user's password has changed since ``user`` was read, or the user
        was deactivated or deleted.
        """
        return cls._for_user(user)

    @classmethod
    def _for_user(cls, user: Any, *, lifetime: timedelta | None = None) -> Self:
        token: Self = base.Token.for_user.__func__(cls, user)  # type: ignore[attr-defined]
        if lifetime is not None:
            token.set_exp(from_time=token.current_time, lifetime=lifetime)
        try:
            token._issue_to(user)
        except UserChanged as error:
            raise LoginOutdated from error
        return token

    def outstand(self) -> Any:
        """Do nothing: the signature identifies a token, so it needs no row."""

    @sensitive_variables()  # frames below have the signing key
    def __str__(self) -> str:
        if self._sid is not None and sid_in(self.payload) != self._sid:
            raise ImproperlyConfigured(
                f"The claim {conf.TOKENS_SESSION_CLAIM!r} of this token carries the id of its"
                " session, and your code has overwritten or deleted it. To use the name yourself,"
                " set TOKENS_SESSION_CLAIM to another one."
            )
        return super().__str__()

    def _end_with(self, login: datetime) -> None:
        """Let the token end with its login, if TOKENS_SESSION_MAX_AGE says when."""
        if conf.TOKENS_SESSION_MAX_AGE is None:
            return
        latest = clock.to_epoch(sessions.latest_end(login))
        if self.payload["exp"] > latest:
            self.payload["exp"] = latest

    def _issue_to(self, user: Any) -> None:
        if isinstance(user, get_user_model()):
            users.check_unchanged(user)

    def _ask(self, claims: Claims) -> None:
        """Raise one of our refusals if the token would not be accepted."""
        asking.about_access(claims, self.payload, spare_statements=True)
