"""The app beside the oracle: tokens that both know, and the comparison of what they answer."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from hypothesis.stateful import RuleBasedStateMachine
from rest_framework_simplejwt.utils import get_md5_hash_password

from . import oracle_app as app
from .oracle import Login, Oracle, Refresh, Token, User, Verdict, World

Users: Any = get_user_model()


class Compared(RuleBasedStateMachine):
    """The state of one run, and the questions that both sides answer."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._refused: set[tuple[str, str]] = set()
        self._last: dict[tuple[str, str], Verdict] = {}
        self._turn = 0
        self._secrets: dict[int, str] = {}

    def begin(self, world: World) -> None:
        self.clock = self._stack.enter_context(app.in_world(world))
        self.oracle = Oracle(world, self.clock.now)
        for name in ("ada", "grace"):
            self.sign_up(name)

    def teardown(self) -> None:
        self._stack.close()

    # Users.

    def sign_up(self, name: str) -> None:
        row = Users.objects.create_user(name, password="1")
        self._secrets[row.pk] = "1"
        self.oracle.users.append(User(name, row.pk, get_md5_hash_password(row.password)))

    def user(self, name: str) -> User:
        """Return the newest user of this name."""
        return next(user for user in reversed(self.oracle.users) if user.name == name)

    def row(self, user: User) -> Any:
        return Users.objects.get(pk=user.pk)

    def secret(self, user: User) -> str:
        return self._secrets[user.pk]

    def new_secret(self, user: User) -> str:
        self._secrets[user.pk] += "1"
        return self._secrets[user.pk]

    def log_out_everywhere(self, user: User, **but: Login | None) -> None:
        self.oracle.log_out_everywhere(user, **but)

    # Tokens.

    def learn(self, raw: str, user: User) -> Token:
        """Let the oracle know a token, as the token itself tells."""
        payload = app.payload_of(raw)
        login = next(
            (one for one in self.oracle.logins if one.sid == payload.get("sid")),
            None,
        )
        return self.oracle.learn(
            Token(
                raw,
                payload["token_type"],
                user,
                login,
                jti=payload["jti"],
                issued=app.since_begin(payload["iat"]),
                expires=app.since_begin(payload["exp"]),
                refreshable=app.since_begin(payload.get("refresh_exp", app.BEGIN.timestamp())),
                password=payload.get("hash_password"),
            )
        )

    def learn_login(self, refresh: str, user: User, *, adopted: Token | None = None) -> Token:
        """Let the oracle know a new session, whose refresh token this is.

        ``adopted`` is the token without a session that was used up for it.
        """
        token = self.learn(refresh, user)
        sid = app.payload_of(refresh)["sid"]
        token.login = Login(
            user, sid, user.password, token, began=self.clock.now, adopted=adopted is not None
        )
        if adopted:
            adopted.heir = token.login
            token.login.previous_jti, token.login.rotated_at = adopted.jti, token.issued
        self.oracle.start(token.login)
        return token

    # Questions.

    def look(self) -> None:
        """Ask about the tokens whose verdict has changed, and about another one in turn."""
        tokens = self.oracle.tokens
        for token in tokens:
            if any(self._is_news(token, door) for door in doors_of(token)):
                for door in doors_of(token):
                    self.compare(token, door)
                # Only what is refused without a trace: any other refresh changes the app.
                if token.kind == "refresh" and self.oracle.refresh(token) is Refresh.REFUSE:
                    assert not app.is_accepted("refresh", token.raw), f"{token!r} can be refreshed"
        if young := [token for token in tokens if not self.oracle.is_expired(token)]:
            self._turn += 1
            token = young[self._turn % len(young)]
            doors = doors_of(token)
            self.compare(token, doors[self._turn // len(young) % len(doors)])

    def compare(self, token: Token, door: str) -> None:
        accepted = app.is_accepted(door, token.raw)
        self._judge(token, door, accepted=accepted)

    def compare_over_http(self, token: Token) -> None:
        self._judge(token, "request", accepted=app.http_request(token.raw) == 200)

    def _judge(self, token: Token, door: str, *, accepted: bool) -> None:
        verdict = self._last[token.raw, door] = self._verdict(token, door)
        if accepted:
            assert verdict is not Verdict.REFUSED, f"{door} accepts {token!r}, which is revoked"
            revived = (token.raw, door) in self._refused
            assert not revived, f"{door} accepts {token!r}, which it has refused"
        else:
            assert verdict is not Verdict.GOOD, f"{door} refuses {token!r}, which is good"
            if door == "request" or (token.user.exists and not self.oracle.world.check_password):
                self._refused.add((token.raw, door))

    def refused_now(self) -> None:
        """Check inside a transaction that what the oracle calls revoked is refused there."""
        for token in self.oracle.tokens:
            for door in doors_of(token):
                if self._verdict(token, door) is Verdict.REFUSED:
                    assert not app.is_accepted(door, token.raw), f"{door} accepts {token!r} inside"

    def _verdict(self, token: Token, door: str) -> Verdict:
        ask: Callable[[Token], Verdict] = getattr(self.oracle, door)
        return ask(token)

    def _is_news(self, token: Token, door: str) -> bool:
        return self._last.get((token.raw, door)) is not self._verdict(token, door)


DOORS = ("request", "stateless", "verify", "introspect")


def doors_of(token: Token) -> tuple[str, ...]:
    return ("verify", "introspect") if token.kind == "refresh" else DOORS


def lasting(duration: int) -> timedelta:
    return app.milliseconds(duration)
