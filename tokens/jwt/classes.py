"""The token classes: simplejwt's, checked against the blacklist whenever they are verified."""

from collections.abc import Callable
from typing import Any, Self

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from rest_framework_simplejwt import tokens as base

from .. import blacklist, clock, sessions, users
from ..claims import Claims, sid_in
from ..conf import conf, simplejwt
from ..exceptions import TokenRevoked, UserInactive
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
        """Let the token live for one more lifetime. Raises TokenError after its refresh limit.

        Its ``iat`` stays the moment of the login: whatever refuses the user's tokens refuses it
        too, even if that was not committed yet when this was called.
        """
        self.check_exp(simplejwt.SLIDING_TOKEN_REFRESH_EXP_CLAIM)
        self.set_exp()


class RefreshToken(RevocableToken, base.RefreshToken):  # type: ignore[misc]
    """A refresh token of the session that its claim ``sid`` names."""

    lifetime = Lifetime("REFRESH_TOKEN_LIFETIME", base.RefreshToken)
    access_token_class = AccessToken

    _session: TokenSession | None = None

    @classmethod
    def for_user(cls, user: Any) -> Self:
        """Return the refresh token of a new session of ``user``. One statement.

        Raises LoginOutdated, as for all tokens. If you give the token a longer life afterwards
        (``set_exp``, "remember me"), the session follows when the token is encoded.
        """
        return super().for_user(user)

    @property
    def access_token(self) -> base.AccessToken:
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
        return access

    def outstand(self) -> TokenSession | None:  # type: ignore[override]
        """Start a session for a token that was made without ``for_user``, and return it.

        Returns None if the token already has a session, or if its user is unknown.
        """
        if self.claims.sid is not None:
            return None
        pk = users.pk_of(self.claims)
        user = get_user_model()._default_manager.filter(pk=pk).first()
        return self._start_session(user) if user else None

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
            try:
                self._adopt(claims, may_log_in)
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
            self._become(sessions.rotate(session, claims, self._successor()))
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
                self._become(self._successor())
                if user is not None:
                    self._start_session(user, continues=claims)
            elif session := sessions.continuing(claims):
                # It was imported, and is used like any other.
                sessions.touch(session, adopted := sessions.adopted(claims))
                self._belong_to(adopted.sid)

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
        self._belong_to(sessions.adopted(continues).sid if continues else new_sid())
        self._session = sessions.start(user, self.claims, continues=continues)
        return self._session

    def _belong_to(self, sid: str | None) -> None:
        self._sid = sid
        self.payload[conf.TOKENS_SESSION_CLAIM] = sid

    def _issue_to(self, user: Any) -> None:
        self._start_session(user)

    def _ask(self, claims: Claims) -> None:
        with simplejwt_errors():
            asking.about_refresh(claims, self.payload)
