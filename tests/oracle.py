"""What must become of each token ever issued: the contract, as a model without the app.

It keeps users, logins and tokens, and is told what happens to them. ``request``, ``verify`` and
``refresh`` then say what the app has to answer. Time is in whole milliseconds, because moments
in tokens are whole seconds, and those of the app are not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
LONGEST = 400 * DAY  # TOKENS_LONGEST_LIFETIME


class Verdict(Enum):
    """What the app has to answer. "Either": the contract leaves it free."""

    GOOD = "good"
    EITHER = "either"
    REFUSED = "refused"


class Refresh(Enum):
    """What the app has to do with a refresh token."""

    ROTATE = "answer a new refresh token"
    KEEP = "answer an access token"
    REPEAT = "answer the same successor again"
    ADOPT = "start a session"
    REFUSE = "refuse it"
    END = "refuse it and end the session"
    EITHER = "either"


@dataclass(frozen=True)
class World:
    """The settings of one run. Times are in milliseconds."""

    rotate: bool = True
    grace: int = 10 * SECOND
    leeway: int = 0
    limit: int | None = None
    max_age: int = 0
    access: int = 5 * MINUTE
    refresh: int = DAY
    margin: int = 5 * MINUTE
    check_password: bool = False  # simplejwt's CHECK_REVOKE_TOKEN
    patched: bool = False  # TOKENS_PATCH_SIMPLEJWT
    session_limit: int | None = None  # TOKENS_SESSION_MAX_AGE


@dataclass(eq=False)
class User:
    name: str
    pk: int
    password: object  # whatever tells one stored password from another
    active: bool = True
    exists: bool = True
    cut_off: int = -1  # tokens without a session, issued until then, are refused
    cut_off_at_most: int = -1  # the same, as far as the contract leaves it open


@dataclass(eq=False)
class Login:
    """A session of the app."""

    user: User
    sid: str
    password: object
    current: "Token"
    began: int
    previous_jti: str | None = None
    rotated_at: int = -1
    adopted: bool = False
    ended: bool = False
    unsure: bool = False  # the contract leaves open whether it has ended


@dataclass(eq=False)
class Token:
    raw: str
    kind: str  # access, refresh or sliding
    user: User
    login: Login | None
    jti: str
    issued: int
    expires: int
    refreshable: int = 0  # of a sliding token: until when
    password: object = None  # what its claim says, with CHECK_REVOKE_TOKEN
    heir: Login | None = None  # the session that continues a refresh token without one

    def __repr__(self) -> str:
        return f"<{self.kind} {self.jti[:6]} of {self.user.name}>"


@dataclass
class Oracle:
    world: World
    now: int
    users: list[User] = field(default_factory=list)
    logins: list[Login] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)

    # What the app has to answer.

    def request(self, token: Token) -> Verdict:
        """Return what a request with this access or sliding token has to be answered."""
        if not token.user.exists or not token.user.active or self._password_is_old(token):
            return Verdict.REFUSED
        return self._revoked(token)

    def stateless(self, token: Token) -> Verdict:
        """Return the same for an authentication that does not read the user."""
        verdict = self._revoked(token)
        if verdict is Verdict.GOOD and self.request(token) is not Verdict.GOOD:
            return Verdict.EITHER
        return verdict

    def verify(self, token: Token) -> Verdict:
        """Return what token/verify/ has to answer about a token of any kind."""
        if token.kind != "refresh":
            return self.request(token)
        verdict = self._revoked(token)
        if verdict is Verdict.REFUSED or not token.user.exists or self.is_too_old(token):
            return Verdict.REFUSED
        if self.refresh(token) is Refresh.END:
            return Verdict.REFUSED
        return Verdict.EITHER if self._password_is_old(token) else verdict

    def introspect(self, token: Token) -> Verdict:
        """Return what introspect/ has to answer about a token of any kind."""
        return self.verify(token)

    def refresh(self, token: Token) -> Refresh:
        """Return what token/refresh/ has to do with a refresh token."""
        user, login = token.user, token.login or token.heir
        if self.is_expired(token) or not user.exists or not user.active:
            return Refresh.REFUSE
        verdict = Verdict.GOOD if token.heir else self._revoked(token)
        if verdict is Verdict.REFUSED or (login and login.ended) or self.is_too_old(token):
            return Refresh.REFUSE
        if verdict is Verdict.EITHER or (login and login.unsure) or self._password_is_old(token):
            return Refresh.EITHER
        if login is None:
            return Refresh.ADOPT if self.world.rotate else Refresh.KEEP
        if login.password != user.password:
            return Refresh.END
        if token.jti == login.current.jti:
            return Refresh.ROTATE if self.world.rotate else Refresh.KEEP
        if token.jti != login.previous_jti or login.rotated_at <= self.now - self.world.grace:
            return Refresh.END
        return Refresh.EITHER if login.current.jti in self.revoked else Refresh.REPEAT

    def successor_ends(self, token: Token, issued: int) -> int:
        """Return when a refresh token expires that is ``issued`` for this one."""
        began = token.login.began if token.login else issued
        ends = issued + token.expires - token.issued
        return ends if self.world.session_limit is None else min(ends, self._latest_end(began))

    def is_expired(self, token: Token) -> bool:
        return token.expires <= self.now - self.world.leeway

    def is_live(self, login: Login) -> bool:
        return not (
            login.ended or self.is_expired(login.current) or self._began_too_long_ago(login.began)
        )

    def may_have_lost_its_row(self, login: Login) -> bool:
        world = self.world
        kept = world.access + 2 * world.leeway + world.margin
        return self.now > login.current.expires + kept

    # What happens.

    def learn(self, token: Token) -> Token:
        """Add a token, or return the one with this text that is known."""
        known = next((one for one in self.tokens if one.raw == token.raw), None)
        if known is None:
            self.tokens.append(token)
        return known or token

    def start(self, login: Login) -> None:
        """A login; beyond the limit the oldest end."""
        self.logins.append(login)
        if (limit := self.world.limit) is None:
            return
        mine = [one for one in self.logins if one.user is login.user and not one.ended]
        live = [one for one in mine if self.is_live(one) and not one.unsure]
        if len(mine) <= limit:
            return
        if len(mine) > len(live) or any(one.adopted for one in live):
            # Which of them is the oldest, and whether one that is over counts, is left open.
            for one in mine:
                one.unsure |= one is not login or login.adopted
        else:
            for one in live[:-limit]:
                one.ended = True

    def rotate(self, login: Login, successor: Token) -> None:
        login.previous_jti, login.rotated_at = login.current.jti, self.now
        login.current = successor

    def log_out(self, token: Token) -> None:
        """End the login of a token, or the token alone."""
        if token.login:
            token.login.ended = True
            return
        self.revoked.add(token.jti)
        if token.heir:
            token.heir.ended = True

    def log_out_everywhere(self, user: User, *, but: Login | None = None) -> None:
        for login in self.logins:
            login.ended |= login.user is user and login is not but
        user.cut_off = user.cut_off_at_most = self.now

    def delete(self, user: User) -> None:
        """A user without a session may leave no entry, because the missing user refuses."""
        mine = [one for one in self.logins if one.user is user and not one.ended]
        has_row = any(not one.unsure and not self.may_have_lost_its_row(one) for one in mine)
        before = user.cut_off
        self.log_out_everywhere(user)
        user.cut_off = self.now if has_row else before
        user.exists = False

    @contextmanager
    def undoing(self) -> Iterator[None]:
        """Forget at the end what happened in the block, but for the time that passed."""
        things: list[Any] = [*self.users, *self.logins, *self.tokens]
        before, revoked = [dict(vars(thing)) for thing in things], set(self.revoked)
        try:
            yield
        finally:
            for thing, values in zip(things, before, strict=True):
                vars(thing).update(values)
            self.revoked = revoked

    # The parts of the rule.

    def _revoked(self, token: Token) -> Verdict:
        """Return the verdict by the rule of refusal, without a look at the user."""
        user, login = token.user, token.login
        if self.is_expired(token) or token.jti in self.revoked or token.heir:
            return Verdict.REFUSED
        if login is not None:
            needs_row = token.kind != "refresh" and token.expires - token.issued > self.world.access
            if login.ended:
                return Verdict.REFUSED
            free = login.unsure or (needs_row and self.may_have_lost_its_row(login))
            return Verdict.EITHER if free else Verdict.GOOD
        ends = max(token.expires, token.refreshable)
        if token.issued <= user.cut_off or ends - token.issued > LONGEST:
            return Verdict.REFUSED
        return Verdict.EITHER if token.issued <= user.cut_off_at_most else Verdict.GOOD

    def is_too_old(self, token: Token) -> bool:
        """Return whether TOKENS_SESSION_MAX_AGE has passed since the login of a token."""
        began = [login.began for login in (token.login, token.heir) if login]
        if token.login is None:
            began.append(token.issued)
        return any(map(self._began_too_long_ago, began))

    def _began_too_long_ago(self, began: int) -> bool:
        if self.world.session_limit is None:
            return False
        return self._latest_end(began) <= self.now - self.world.leeway

    def _latest_end(self, began: int) -> int:
        limit = self.world.session_limit
        assert limit is not None
        return began + limit

    def _password_is_old(self, token: Token) -> bool:
        return self.world.check_password and token.password != token.user.password
