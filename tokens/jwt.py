"""The token classes: simplejwt's, checked against the blacklist whenever they are verified.

The only module, with ``api``, that knows simplejwt's internals.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Self

import jwt
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext as _
from rest_framework_simplejwt import tokens as base
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError

from . import blacklist, clock, sessions, users
from .claims import REFRESH, SID_CLAIM, Claims
from .conf import simplejwt
from .exceptions import TokenMalformed, TokenRevoked, UserInactive
from .keys import new_sid
from .models import BlacklistEntry, TokenSession

# Most tokens have a few hundred bytes. We refuse a longer one before anything parses it.
MAX_TOKEN_BYTES = 8192

# Python raises these when a claim has a type or size that simplejwt does not expect.
ODD_CLAIM = (TypeError, ValueError, OverflowError, OSError, RecursionError)

# About what a caller asks the blacklist itself: the text of one token, or an authentication.
_left_to_caller: ContextVar[object] = ContextVar("left_to_caller", default=None)


@contextmanager
def caller_asks_about(subject: object) -> Iterator[None]:
    """Let the caller ask the blacklist about ``subject``, in a query that it makes anyway.

    Code that verifies ``subject`` in this context does not ask; all other tokens are asked about
    as always. ``subject`` is the text of a token (this very object), or an authentication, which
    stands for the token that it finds in the request.
    """
    reset = _left_to_caller.set(subject)
    try:
        yield
    finally:
        _left_to_caller.reset(reset)


def is_left_to_caller(subject: object) -> bool:
    """Return whether a caller asks the blacklist about exactly this ``subject``."""
    return subject is not None and _left_to_caller.get() is subject


@contextmanager
def simplejwt_errors() -> Iterator[None]:
    """Raise simplejwt's TokenError instead of our refusals: its views answer it with 401."""
    try:
        yield
    except (TokenMalformed, TokenRevoked) as error:
        raise TokenError(_(str(error))) from error


class _Lifetime:
    """A lifetime that follows its setting; simplejwt reads the setting once, at import."""

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def __get__(self, instance: object, owner: type | None = None) -> timedelta:
        lifetime: timedelta = getattr(simplejwt, self.setting)
        return lifetime


class RevocableToken(base.Token):
    """A token that can be revoked: the mixin of the three token classes.

    Constructing one from text verifies it. This takes one statement, and raises simplejwt's
    TokenError if the token must not be accepted, also if a claim is odd or the text unreadable.
    """

    def __init__(self, token: Any = None, verify: bool = True) -> None:  # noqa: FBT001, FBT002
        try:
            if token is not None and len(token) > MAX_TOKEN_BYTES:
                raise TokenError(_("Token is too long"))
            super().__init__(token, verify)
        except ODD_CLAIM as error:
            raise TokenError(_("Token is invalid")) from error

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
        if not is_left_to_caller(self.token) and self._is_revoked(claims):
            raise TokenError(_("Token is blacklisted"))

    def check_blacklist(self) -> None:
        """Raise TokenError if the token, its session or all tokens of its user are revoked."""
        if self._is_revoked(self.claims):
            raise TokenError(_("Token is blacklisted"))

    def blacklist(self, *, reason: str = blacklist.Reason.LOGOUT) -> tuple[BlacklistEntry, bool]:
        """Revoke the token; if it carries a ``sid``, end its whole login.

        Returns the entry and whether it is new, as simplejwt's ``blacklist()`` does.
        """
        return sessions.end(self.claims, reason=reason)

    # If simplejwt's own blacklist app is installed too, its mixin would store the token's text.

    @classmethod
    def for_user(cls, user: Any) -> Self:
        """Return a token that names ``user``."""
        token: Self = base.Token.for_user.__func__(cls, user)  # type: ignore[attr-defined]
        return token

    def outstand(self) -> Any:
        """Do nothing: the signature identifies a token, so it needs no row."""

    def _is_revoked(self, claims: Claims) -> bool:
        return blacklist.is_revoked(claims)


class AccessToken(RevocableToken, base.AccessToken):
    """An access token that is refused as soon as its login ends."""

    lifetime = _Lifetime("ACCESS_TOKEN_LIFETIME")


class SlidingToken(RevocableToken, base.SlidingToken):  # type: ignore[misc]
    """A sliding token; it keeps its jti when it is refreshed, so one entry refuses every form."""

    lifetime = _Lifetime("SLIDING_TOKEN_LIFETIME")


class RefreshToken(RevocableToken, base.RefreshToken):  # type: ignore[misc]
    """A refresh token of the session that its claim ``sid`` names."""

    lifetime = _Lifetime("REFRESH_TOKEN_LIFETIME")
    access_token_class = AccessToken

    _session: TokenSession | None = None

    @classmethod
    def for_user(cls, user: Any) -> Self:
        """Return the refresh token of a new session of ``user``. One statement.

        If you give the token a longer life afterwards (``set_exp``, "remember me"), the session
        follows when the token is encoded.
        """
        token = super().for_user(user)
        token._start_session(user)
        return token

    def outstand(self) -> TokenSession | None:  # type: ignore[override]
        """Start a session for a token that was made without ``for_user``, and return it.

        Returns None if the token already has a session, or if its user is unknown.
        """
        if SID_CLAIM in self.payload:
            return None
        pk = users.pk_of(self.claims)
        user = get_user_model()._default_manager.filter(pk=pk).first()
        return self._start_session(user) if user else None

    def use(self, may_log_in: Callable[[AbstractBaseUser], bool]) -> None:
        """Use this token for a refresh; with ROTATE_REFRESH_TOKENS it becomes its successor.

        All claims but ``jti``, ``iat`` and ``exp`` stay. Within the grace period several callers
        get the same successor. Raises TokenRevoked, UserUnknown, or, if ``may_log_in`` rejects the
        user, UserInactive.
        """
        claims = self.claims
        used_up = False
        if claims.sid is None:
            try:
                self._adopt(claims, may_log_in)
            except TokenRevoked:
                claims, used_up = sessions.adopted(claims), True
                self.payload[SID_CLAIM] = claims.sid
            else:
                return
        session = sessions.find(claims, used_up=used_up)
        if not may_log_in(session.user):
            raise UserInactive
        if simplejwt.ROTATE_REFRESH_TOKENS:
            self._become(sessions.rotate(session, claims, self._successor()))
        else:
            sessions.touch(session, claims)

    def _adopt(self, claims: Claims, may_log_in: Callable[[AbstractBaseUser], bool]) -> None:
        """Use up a token of plain simplejwt, and start a session for its successor.

        Logging out everywhere takes the same lock on the user's row, so it sees each session that
        starts here.
        """
        rotate = simplejwt.ROTATE_REFRESH_TOKENS
        with transaction.atomic(using := blacklist.database()):
            if rotate:
                users.lock_named(claims, using=using)
            user = blacklist.user_of(claims)
            if not may_log_in(user):
                raise UserInactive
            if rotate:
                blacklist.use_up(claims, user=user)
                self._become(self._successor())
                self._start_session(user, continues=claims)

    def _successor(self) -> sessions.Successor:
        fresh = type(self)()
        claims = fresh.claims
        return sessions.Successor(claims.jti, fresh.current_time, claims.expires_at)

    def _become(self, successor: sessions.Successor) -> None:
        self.payload[simplejwt.JTI_CLAIM] = successor.jti
        self.payload["iat"] = clock.to_epoch(successor.issued_at)
        self.payload["exp"] = clock.to_epoch(successor.expires_at)

    def __str__(self) -> str:
        if self._session is not None and self._session.expires_at != self.claims.expires_at:
            sessions.extend(self._session, self.claims.expires_at)
        return super().__str__()

    def _start_session(
        self, user: AbstractBaseUser, *, continues: Claims | None = None
    ) -> TokenSession:
        self.payload[SID_CLAIM] = sessions.adopted(continues).sid if continues else new_sid()
        self._session = sessions.start(user, self.claims, continues=continues)
        return self._session

    def _is_revoked(self, claims: Claims) -> bool:
        return not sessions.accepts(claims)


class AnyToken(RevocableToken, base.UntypedToken):
    """A token of any type; the rule for its own type decides."""

    def verify_token_type(self) -> None:
        if not isinstance(self.payload.get(simplejwt.TOKEN_TYPE_CLAIM), str):
            raise TokenError(_("Token has no type"))

    def _is_revoked(self, claims: Claims) -> bool:
        if self.payload.get(simplejwt.TOKEN_TYPE_CLAIM) == REFRESH:
            return not sessions.accepts(claims)
        return blacklist.is_revoked(claims)


def claims_for_logout(raw: str | bytes, *, types: Sequence[str | None]) -> Claims:
    """Return the claims of a token that we signed, even if it has expired or was revoked.

    Logging out with an expired token still ends its session, so this ignores the expiry. Raises
    TokenError if the signature is bad, a claim is odd, or the token's type is not in ``types``.
    """
    if len(raw) > MAX_TOKEN_BYTES:
        raise TokenError(_("Token is too long"))
    token = AnyToken()
    backend = token.get_token_backend()
    try:
        token.payload = jwt.decode(
            raw,
            backend.get_verifying_key(raw),  # type: ignore[arg-type]
            algorithms=[backend.algorithm],
            audience=backend.audience,
            issuer=backend.issuer,
            leeway=backend.get_leeway(),
            options={"verify_aud": backend.audience is not None, "verify_exp": False},
        )
    except (jwt.InvalidTokenError, TokenBackendError, *ODD_CLAIM) as error:
        raise TokenError(_("Token is invalid")) from error
    if token.payload.get(simplejwt.TOKEN_TYPE_CLAIM) not in types:
        raise TokenError(_("Token has wrong type"))
    return token.claims
