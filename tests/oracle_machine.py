"""A state machine that does to the app what people do, and compares each answer with the oracle's.

What is refused stays refused, what the oracle calls revoked is refused at each door, and what it
calls good is accepted.
"""

import uuid
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, invariant, multiple, rule
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens.api.serializers import TokenRefreshSlidingSerializer
from tokens.jwt import RefreshToken, SlidingToken

from . import oracle_app as app
from .forge import signed
from .oracle import DAY, HOUR, MINUTE, SECOND, Refresh, Token, User, Verdict, World
from .oracle_compared import Compared, lasting

worlds = st.builds(
    World,
    rotate=st.booleans(),
    grace=st.sampled_from([10 * SECOND, 0]),
    leeway=st.sampled_from([0, 10 * SECOND]),
    limit=st.sampled_from([None, None, 1, 2]),
    max_age=st.sampled_from([0, SECOND]),
    access=st.sampled_from([5 * MINUTE, MINUTE, HOUR]),
    refresh=st.sampled_from([DAY, 5 * SECOND, MINUTE, HOUR]),
    margin=st.sampled_from([5 * MINUTE, 0]),
    check_password=st.sampled_from([False, False, False, True]),
    patched=st.sampled_from([False, False, True]),
    session_limit=st.sampled_from([None, None, None, 2 * MINUTE, 2 * HOUR, 2 * DAY]),
)
names = st.sampled_from(["ada", "ada", "ada", "grace"])
waits = st.sampled_from([300, SECOND, 11 * SECOND, MINUTE, 6 * MINUTE, HOUR, DAY, 31 * DAY])
lifetimes = st.sampled_from([5 * SECOND, MINUTE, HOUR, 30 * DAY, 399 * DAY, 500 * DAY])


def _version_7(some: uuid.UUID) -> str:
    number = some.int & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=number & ~(0x3 << 62) | 2 << 62))


foreign_sids = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20),
    st.uuids(version=4).map(str),
    st.uuids(version=4).map(_version_7),
)


class Machine(Compared):
    """The rules. A subclass narrows ``worlds`` to find something faster."""

    worlds: ClassVar[Any] = worlds
    tokens: Bundle[Token] = Bundle("tokens")
    accesses = tokens.filter(lambda token: token.kind != "refresh")
    refreshes = tokens.filter(lambda token: token.kind == "refresh")

    @initialize(target=tokens, data=st.data())
    def in_a_world(self, data: Any) -> Any:
        """Begin with a login, because Hypothesis leaves some rules out of each run."""
        self.begin(data.draw(self.worlds, label="world"))
        return self._log_in(self.user("ada"))

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "oracle"):
            self.look()

    @rule(token=accesses)
    def ask_over_http(self, token: Token) -> None:
        self.compare_over_http(token)

    # New tokens.

    @rule(target=tokens, name=names)
    def log_in(self, name: str) -> Any:
        return self._log_in(self.user(name))

    def _log_in(self, user: User) -> Any:
        answer = app.post("token/", {"username": user.name, "password": self.secret(user)})
        assert answer.status_code == (200 if user.active and user.exists else 401)
        if answer.status_code != 200:
            return multiple()
        refresh = self.learn_login(answer.json()["refresh"], user)
        return multiple(refresh, self.learn(answer.json()["access"], user))

    @rule(target=tokens, name=names, lifetime=lifetimes)
    def log_in_and_be_remembered(self, name: str, lifetime: int) -> Any:
        user = self.user(name)
        if not (user.active and user.exists):
            return multiple()
        token = RefreshToken.for_user(self.row(user))
        token.set_exp(lifetime=lasting(lifetime))
        refresh = self.learn_login(str(token), user)
        return multiple(refresh, self.learn(str(token.access_token), user))

    @rule(
        target=tokens,
        name=names,
        kind=st.sampled_from([PlainAccessToken, PlainRefreshToken, SlidingToken]),
        lifetime=lifetimes,
    )
    def make_by_simplejwt(self, name: str, kind: Any, lifetime: int) -> Any:
        user = self.user(name)
        if not (user.active and user.exists):
            return multiple()
        token = kind.for_user(self.row(user))
        if kind is not SlidingToken:
            token.set_exp(lifetime=lasting(lifetime))
        if kind is PlainRefreshToken and self.oracle.world.patched:
            return self.learn_login(str(token), user)
        return self.learn(str(token), user)

    @rule(target=tokens, name=names, sid=foreign_sids, refresh=st.booleans(), lifetime=lifetimes)
    def make_with_foreign_sid(self, name: str, sid: str, refresh: bool, lifetime: int) -> Any:
        user = self.user(name)
        if not (user.active and user.exists):
            return multiple()
        return self.learn(self._signed(user, sid, lifetime, refresh=refresh), user)

    @rule(target=tokens, token=tokens, lifetime=lifetimes)
    def make_by_hand_for_a_session(self, token: Token, lifetime: int) -> Any:
        login = token.login
        if login is None or login.unsure or not self.oracle.is_live(login):
            return multiple()
        return self.learn(self._signed(token.user, login.sid, lifetime), token.user)

    @rule(target=tokens, token=refreshes, lifetime=lifetimes)
    def take_access(self, token: Token, lifetime: int) -> Any:
        if self.oracle.verify(token) is not Verdict.GOOD:
            return multiple()
        access = RefreshToken(token.raw).access_token
        access.set_exp(lifetime=lasting(lifetime))
        return self.learn(str(access), token.user)

    def _signed(self, user: User, sid: str, lifetime: int, *, refresh: bool = False) -> str:
        issued = int(app.BEGIN.timestamp()) + self.clock.now // SECOND
        return signed(
            token_type="refresh" if refresh else "access",
            user_id=str(user.pk),
            jti=f"by hand {len(self.oracle.tokens)}",
            sid=sid,
            iat=issued,
            exp=issued + lifetime // SECOND,
        )

    def wait_for(self, duration: int) -> None:
        self.clock.wait(duration)
        self.oracle.now = self.clock.now

    # Refreshes.

    @rule(target=tokens, token=refreshes)
    def refresh(self, token: Token) -> Any:
        expected = self.oracle.refresh(token)
        answer = app.post("token/refresh/", {"refresh": token.raw})
        login = token.login or token.heir
        if expected in (Refresh.REFUSE, Refresh.END):
            assert answer.status_code == 401, f"{token!r} was to {expected.value}"
            if expected is Refresh.END and login:
                login.ended = True
            return multiple()
        if expected is Refresh.EITHER and answer.status_code == 401:
            if login:
                login.unsure = True
            return multiple()
        assert answer.status_code == 200, f"{token!r}: {expected.value}, {answer.json()}"
        return self._refreshed(token, expected, answer.json())

    def _refreshed(self, token: Token, expected: Refresh, body: dict[str, str]) -> Any:
        user, login = token.user, token.login or token.heir
        found = []
        if "refresh" in body:
            if login is None:
                successor = self.learn_login(body["refresh"], user, adopted=token)
                self._lives_as_long(successor, token)
            else:
                successor = self.learn(body["refresh"], user)
                is_repeated = successor.jti == login.current.jti
                assert is_repeated == (expected is Refresh.REPEAT) or expected is Refresh.EITHER
                if not is_repeated:
                    self._lives_as_long(successor, token)
                    self.oracle.rotate(login, successor)
            found.append(successor)
        access = self.learn(body["access"], user)
        is_sure = access.login is None or not access.login.unsure
        if self.oracle.world.check_password and is_sure:
            # Or the client would go round in circles.
            assert app.is_accepted("request", access.raw), f"{token!r} gives what is refused"
        return multiple(*found, access)

    def _lives_as_long(self, successor: Token, token: Token) -> None:
        ends = self.oracle.successor_ends(token, successor.issued)
        assert abs(successor.expires - ends) <= SECOND, f"{successor!r} ends at {ends}"

    @rule(
        target=tokens,
        token=accesses.filter(lambda token: token.kind == "sliding"),
        after=st.sampled_from([0, SECOND, MINUTE]),
    )
    def slide(self, token: Token, after: int) -> Any:
        self.wait_for(after)
        verdict = self.oracle.verify(token)
        in_time = token.refreshable > self.clock.now - self.oracle.world.leeway
        in_time &= not self.oracle.is_too_old(token)
        slid = TokenRefreshSlidingSerializer(data={"token": token.raw})
        try:
            slid.is_valid(raise_exception=True)
        except (TokenError, APIException):
            assert verdict is not Verdict.GOOD or not in_time
            return multiple()
        assert verdict is not Verdict.REFUSED
        assert in_time
        return self.learn(slid.validated_data["token"], token.user)
