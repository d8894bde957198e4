"""What all token classes share: they are refused once they are revoked."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt import tokens as base
from rest_framework_simplejwt.exceptions import AuthenticationFailed, TokenError

from .. import blacklist, sessions, users
from ..claims import Claims, sid_in
from ..conf import conf, simplejwt
from ..exceptions import TokensError, UserChanged
from ..models import BlacklistEntry
from . import asking
from .asking import is_left_to_caller

# Most tokens have a few hundred bytes. We refuse a longer one before anything parses it.
MAX_TOKEN_BYTES = 8192

# Python raises these when a claim has a type or size that simplejwt does not expect.
ODD_CLAIM = (TypeError, ValueError, OverflowError, OSError, RecursionError)


class LoginOutdated(AuthenticationFailed):
    """The user has changed since the password was checked. DRF answers 401."""

    default_detail: Any = gettext_lazy("The password or the account has changed. Log in again.")
    default_code = "user_changed"


@contextmanager
def simplejwt_errors() -> Iterator[None]:
    """Raise simplejwt's TokenError instead of our refusals: its views answer it with 401."""
    try:
        yield
    except TokensError as error:
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
        return given if given is not self.imported else getattr(simplejwt, self.setting)


class RevocableToken(base.Token):
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
        if token is not None:
            self._sid = sid_in(self.payload)

    # The id of the session that the token was issued for, if there is one.
    _sid: str | None = None

    _read: tuple[dict[str, Any], Claims] | None = None

    @property
    def claims(self) -> Claims:
        """The claims that revocation uses. Raises TokenError if one is malformed.

        They are read once, and again only after the payload has changed. A setting that changes
        meanwhile does not count.
        """
        if self._read is None or self._read[0] != self.payload:
            with simplejwt_errors():
                self._read = dict(self.payload), Claims.of(self)
        return self._read[1]

    def verify(self) -> None:
        # Not super(): if simplejwt's own blacklist app is installed too, its mixin would ask again.
        base.Token.verify(self)
        claims = self.claims  # refuses malformed claims, even if a caller asks the blacklist
        if not is_left_to_caller(self.token):
            self._ask(claims)

    def check_blacklist(self) -> None:
        """Raise TokenError if the token, its session or all tokens of its user are revoked.

        Also if its user may not use it: see ``asking``.
        """
        self._ask(self.claims)

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
        token: Self = base.Token.for_user.__func__(cls, user)  # type: ignore[attr-defined]
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

    def _issue_to(self, user: Any) -> None:
        if isinstance(user, get_user_model()):
            users.check_unchanged(user)

    def _ask(self, claims: Claims) -> None:
        with simplejwt_errors():
            asking.about_access(claims, self.payload, spare_statements=True)
