"""The token classes: simplejwt's, checked against the blacklist whenever they are verified."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Self, cast

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from rest_framework_simplejwt import tokens as base
from rest_framework_simplejwt.exceptions import TokenError

from .. import blacklist, clock, retry, sessions, users
from ..claims import Claims, sid_in
from ..conf import conf, simplejwt
from ..exceptions import TokenExpired, TokenMalformed, TokenRevoked, UserInactive
from ..keys import new_sid
from ..models import TokenSession
from . import asking
from .revocable import Lifetime, RevocableToken, simplejwt_errors


class AccessToken(RevocableToken, base.AccessToken):
    """An access token that is refused as soon as its login ends."""

    lifetime = Lifetime("ACCESS_TOKEN_LIFETIME", base.AccessToken)


class SlidingToken(RevocableToken, base.SlidingToken):  # type: ignore[misc]
    """A sliding token; it keeps its jti when it is refreshed, so one entry refuses every form."""

    lifetime = Lifetime("SLIDING_TOKEN_LIFETIME", base.SlidingToken)

    def extend(self) -> None:
        """Let the token live for one more lifetime.

        Asks the blacklist and the user, also if checks are cached. Raises TokenError if the token
        would not be accepted with a request, or after its refresh limit.

        Its ``iat`` stays the moment of the login: whatever refuses the user's tokens refuses it
        too, even if that was not committed yet when this was called.
        """
        claim = simplejwt.SLIDING_TOKEN_REFRESH_EXP_CLAIM
        try:
            self.check_exp(claim)
        except TokenError as error:
            raise error from (TokenExpired() if claim in self.payload else TokenMalformed(claim))
        with simplejwt_errors():
            claims = self._claims()
            sessions.check_age(claims.issued_at)
            asking.about_access(claims, self.payload)
        self.set_exp()
        self._end_with(claims.issued_at)


class RefreshToken(RevocableToken, base.RefreshToken):  # type: ignore[misc]
    """A refresh token of the session that its claim ``sid`` names."""

    lifetime = Lifetime("REFRESH_TOKEN_LIFETIME", base.RefreshToken)
    access_token_class = AccessToken

    _session: TokenSession | None = None

    @classmethod
    def for_user(cls, user: Any, lifetime: timedelta | None = None) -> Self:
        """Return the refresh token of a new session of ``user``. One statement.

        With a ``lifetime`` ("remember me"), that is how long each refresh token of the session
        lives, unless TOKENS_SESSION_MAX_AGE ends it. If you call ``set_exp`` afterwards, the
        session follows when the token is encoded.

        Raises LoginOutdated, as for all tokens, and ValueError if ``lifetime`` is not positive.
        """
        if lifetime is not None and lifetime <= timedelta(0):
            raise ValueError(f"A lifetime must be positive, not {lifetime!r}.")
        return cls._for_user(user, lifetime=lifetime)

    @property
    def access_token(self) -> AccessToken:
        """An access token of the same session, with this token's claims.

        Without a session it is as old as this token: whatever refuses the user's tokens refuses it
        too, even if that was not committed yet when the access token was made.
        """
        access = super().access_token
        sid = sid_in(access.payload)
        if sid is None and "iat" in self.payload:
            access["iat"] = self["iat"]
        if isinstance(access, RevocableToken):
            access._sid = sid
        return cast(AccessToken, access)

    def outstand(self) -> TokenSession | None:  # type: ignore[override]
        """Start a session for a token that was made without ``for_user``, and return it.

        Returns None if the token already has a session, or if its user is unknown.
        """
        if self.claims.sid is not None:
            return None
        pk = users.pk_of(self.claims)
        user = retry.lost_races(users.shown(users.database()).filter(pk=pk).first)()
        if user is None:
            return None
        return self._start_session(user, lifetime=self._lifetime_given(self.claims))

    def use(self, may_log_in: Callable[[AbstractBaseUser], bool]) -> None:
        """Use this token for a refresh; with ROTATE_REFRESH_TOKENS it becomes its successor.

        All claims but ``jti``, ``iat`` and ``exp`` stay, and with CHECK_REVOKE_TOKEN the one for
        the password follows it. Within the grace period several callers get the same successor.
        Raises TokenRevoked, UserUnknown, PasswordChanged, or, if ``may_log_in`` rejects the user,
        UserInactive.
        """
        claims = self.claims
        used_up = False
        if claims.sid is None:
            sessions.check_age(claims.issued_at)
            given = dict(self.payload)

            @retry.lost_races
            def adopt() -> None:
                self.payload = dict(given)
                self._adopt(claims, may_log_in)

            try:
                adopt()
            except TokenRevoked:
                claims, used_up = sessions.adopted(claims), True
                self._belong_to(claims.sid)
            else:
                return
        session = sessions.find(claims, used_up=used_up)
        if used_up and session.refresh_jti == claims.jti:
            # It was imported and not used yet, so something else refuses it.
            raise TokenRevoked
        if not may_log_in(session.user):
            raise UserInactive
        if simplejwt.ROTATE_REFRESH_TOKENS:
            new = self._successor(session.lifetime, sessions.login_of(session))
            self._become(sessions.rotate(session, claims, new))
        else:
            sessions.touch(session, claims)
        asking.renew_claim_of_password(session.user, self.payload)
        self._belong_to(claims.sid)

    def _adopt(self, claims: Claims, may_log_in: Callable[[AbstractBaseUser], bool]) -> None:
        """Use up a token of plain simplejwt, and start a session for its successor.

        Logging out everywhere takes the same lock on the user's row, so it sees each session that
        starts here. A token that names no user (a guest's, a device's) goes on without a session.
        """
        user = None
        with transaction.atomic(using := blacklist.database()):
            if claims.user_id is None:
                blacklist.check(claims)
            else:
                if simplejwt.ROTATE_REFRESH_TOKENS:
                    users.lock_named(claims, using=using)
                user = blacklist.user_of(claims)
                if not may_log_in(user):
                    raise UserInactive
                asking.check_claim_of_password(user, self.payload)
                asking.renew_claim_of_password(user, self.payload)
            if simplejwt.ROTATE_REFRESH_TOKENS:
                blacklist.use_up(claims, user=user)
                lifetime = self._lifetime_given(claims)
                self._become(self._successor(lifetime))
                if user is not None:
                    self._start_session(user, lifetime=lifetime, continues=claims)
            elif session := sessions.continuing(claims):
                # It was imported, and is used like any other.
                sessions.touch(session, adopted := sessions.adopted(claims))
                self._belong_to(adopted.sid)
        if self._session is not None and self._session.has_ended:
            raise TokenRevoked

    def _successor(
        self, lifetime: timedelta | None, login: datetime | None = None
    ) -> sessions.Successor:
        fresh = type(self)()
        if lifetime is not None:
            fresh.set_exp(from_time=fresh.current_time, lifetime=lifetime)
        fresh._end_with(login or fresh.current_time)
        claims = Claims.of(fresh)
        return sessions.Successor(claims.jti, fresh.current_time, claims.expires_at)

    def _become(self, successor: sessions.Successor) -> None:
        self.payload[simplejwt.JTI_CLAIM] = successor.jti
        self.payload["iat"] = clock.to_epoch(successor.issued_at)
        self.payload["exp"] = clock.to_epoch(successor.expires_at)

    def __str__(self) -> str:
        session = self._session
        if session is not None and session.expires_at != self.claims.expires_at:
            lifetime = self._lifetime_given(self.claims)
            self._end_with(sessions.login_of(session))
            sessions.extend(session, self.claims.expires_at, lifetime=lifetime)
        return super().__str__()

    def _lifetime_given(self, claims: Claims) -> timedelta | None:
        """Return how long this token lives if that is not how long its class does."""
        if "iat" not in self.payload:
            return None
        return sessions.lifetime_given(claims.expires_at - claims.issued_at, self.lifetime)

    def _start_session(
        self,
        user: AbstractBaseUser,
        *,
        lifetime: timedelta | None,
        continues: Claims | None = None,
    ) -> TokenSession:
        self._belong_to(sessions.adopted(continues).sid if continues else new_sid())
        self._end_with(self.claims.issued_at)
        self._session = sessions.start(user, self.claims, lifetime=lifetime, continues=continues)
        return self._session

    def _belong_to(self, sid: str | None) -> None:
        self._sid = sid
        self.payload[conf.TOKENS_SESSION_CLAIM] = sid

    def _issue_to(self, user: Any) -> None:
        self._start_session(user, lifetime=self._lifetime_given(self.claims))

    def _ask(self, claims: Claims) -> None:
        asking.about_refresh(claims, self.payload)
