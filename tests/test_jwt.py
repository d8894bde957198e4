import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from rest_framework_simplejwt import state
from rest_framework_simplejwt import tokens as base
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens.conf import simplejwt
from tokens.jwt import (
    AccessToken,
    AnyToken,
    RefreshToken,
    SlidingToken,
    claims_for_logout,
    revocable,
)
from tokens.models import BlacklistEntry, TokenSession

from .forge import USER_ID, sign, signed

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = [AccessToken, RefreshToken, SlidingToken]


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_accepted_until_it_is_blacklisted(kind: Any, user: AbstractUser) -> None:
    token = kind.for_user(user)
    raw = str(token)
    assert kind(raw)[USER_ID] == str(getattr(user, simplejwt.USER_ID_FIELD))
    entry, created = token.blacklist()
    assert created
    with pytest.raises(TokenError, match="Token is blacklisted"):
        kind(raw)
    with pytest.raises(TokenError, match="Token is blacklisted"):
        token.check_blacklist()
    again, created = kind(raw, verify=False).blacklist()
    assert (created, again.pk) == (False, entry.pk)


def test_the_access_token_dies_with_the_refresh_token_of_its_login(user: AbstractUser) -> None:
    refresh, other = RefreshToken.for_user(user), RefreshToken.for_user(user)
    access, other_access = str(refresh.access_token), str(other.access_token)
    refresh.blacklist()
    with pytest.raises(TokenError):
        AccessToken(access)
    assert AccessToken(other_access)
    assert RefreshToken(str(other))


def test_the_refresh_token_dies_with_the_access_token_of_its_login(user: AbstractUser) -> None:
    refresh = RefreshToken.for_user(user)
    AccessToken(str(refresh.access_token)).blacklist()
    with pytest.raises(TokenError):
        RefreshToken(str(refresh))


@pytest.mark.parametrize("kind", KINDS)
def test_verifying_alone_costs_one_statement(
    kind: Any, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    raw = str(kind.for_user(user))
    with statements() as asked:
        kind(raw)
    assert len(asked) == 1
    with statements() as asked, pytest.raises(TokenError):
        kind(raw + "x")
    assert asked == []


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": ...},
        {"jti": ""},
        {"jti": 7},
        {"jti": {"a": 1}},
        {"exp": ...},
        {"exp": None},
        {"exp": "soon"},
        {"exp": [1]},
        {"exp": 1e300},
        {"exp": 10**30},
        {"exp": -1},
        {"iat": "x"},
        {"sid": 5},
        {"sid": ""},
        {"user_id": []},
        {"user_id": "\x00"},
        {"token_type": 5},
        {"token_type": ...},
        {"iss": 5},
    ],
    ids=str,
)
def test_odd_claims_are_an_error_and_never_a_crash(claims: dict[str, Any]) -> None:
    for kind in (AccessToken, AnyToken):
        with pytest.raises(TokenError):
            kind(signed(**claims))


@pytest.mark.parametrize(
    "raw", [b"", "", "x", "a.b.c", "..", "\ud800", b"\xff", 5, [], "x" * 8193, "x." * 4000]
)
def test_what_is_no_token_is_an_error_and_never_a_crash(raw: Any) -> None:
    for kind in (*KINDS, AnyToken):
        with pytest.raises(TokenError):
            kind(raw)


def test_a_token_of_unusual_size_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(TokenError, match="too long"):
        AccessToken(signed(bulk="x" * 8192))
    with pytest.raises(TokenError, match="too long"):
        claims_for_logout(signed(bulk="x" * 8192), types=["access"])


def test_lifetimes_follow_their_settings(settings: Any) -> None:
    settings.SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": timedelta(seconds=7)}
    assert AccessToken.lifetime == timedelta(seconds=7)
    token = AccessToken()
    assert token["exp"] - token["iat"] == 7


def test_a_longer_life_reaches_the_session_when_the_token_is_encoded(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    with statements() as written:
        token = RefreshToken.for_user(user)
        str(token)
    assert len(written) == 1
    token.set_exp(lifetime=timedelta(days=30))
    str(token)
    assert TokenSession.objects.get().expires_at == token.claims.expires_at
    assert token.blacklist()[0].expires_at == token.claims.expires_at


def test_a_session_that_has_rotated_is_not_moved_by_an_old_instance(user: AbstractUser) -> None:
    token = RefreshToken.for_user(user)
    end = TokenSession.objects.get().expires_at
    RefreshToken(str(token)).use(lambda user: True)
    token.set_exp(lifetime=timedelta(days=30))
    str(token)
    assert TokenSession.objects.get().expires_at < end + timedelta(days=1)


def test_a_token_made_by_hand_gets_its_session_by_outstand(user: AbstractUser) -> None:
    token = RefreshToken()
    token[USER_ID] = str(getattr(user, simplejwt.USER_ID_FIELD))
    assert token.outstand() == TokenSession.objects.get()
    assert token.outstand() is None
    assert RefreshToken(str(token))
    token = RefreshToken()
    token[USER_ID] = "424242"
    assert token.outstand() is None


def test_a_plain_refresh_token_is_used_once_and_adopted_into_a_session(
    user: AbstractUser,
) -> None:
    raw = str(PlainRefreshToken.for_user(user))
    token = RefreshToken(raw)
    token.use(lambda user: True)
    assert TokenSession.objects.get().refresh_jti == token.claims.jti
    assert RefreshToken(str(token))["sid"] == token["sid"]
    with pytest.raises(TokenError):
        RefreshToken(raw)


def test_no_class_is_recorded_by_simplejwts_own_app(user: AbstractUser) -> None:
    for kind in KINDS:
        assert kind.for_user(user)
    assert AccessToken.for_user(user).outstand() is None


def test_logging_out_reads_expired_and_revoked_tokens_and_no_forgeries(
    user: AbstractUser,
) -> None:
    token = RefreshToken.for_user(user)
    token.blacklist()
    assert claims_for_logout(str(token), types=["refresh"]).jti == token.claims.jti
    expired = signed(exp=1_000_000_000)
    assert claims_for_logout(expired, types=["access"]).jti == "a-jti"
    payload = {"jti": "x", "exp": 2, "token_type": "access"}
    forged, unsigned = sign(payload, key="another key" * 5), sign(payload, algorithm="none")
    for raw in (forged, unsigned, signed(token_type="refresh"), signed(jti=5), "x", b"\xff"):
        with pytest.raises(TokenError):
            claims_for_logout(raw, types=["access"])


def test_nothing_that_can_be_used_as_a_token_is_stored(user: AbstractUser) -> None:
    token = RefreshToken.for_user(user)
    access = token.access_token
    token.blacklist()
    rows = [*BlacklistEntry.objects.values(), *TokenSession.objects.values()]
    for raw in (str(token), str(access)):
        for part in raw.split("."):
            assert part not in str(rows)


def test_any_token_is_judged_by_the_rule_for_its_type(user: AbstractUser) -> None:
    refresh = RefreshToken.for_user(user)
    access = str(refresh.access_token)
    TokenSession.objects.all().delete()
    assert AnyToken(access)
    with pytest.raises(TokenError):
        AnyToken(str(refresh))


def test_a_token_that_was_not_made_from_text_is_asked_about(user: AbstractUser) -> None:
    token = RefreshToken.for_user(user)
    token.verify()
    token.blacklist()
    with pytest.raises(TokenError, match="Token is blacklisted"):
        token.verify()


def test_the_backend_of_simplejwt_is_looked_up_for_each_token(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = str(AccessToken.for_user(user))
    asked = []

    class Recording(TokenBackend):
        def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:  # noqa: FBT002
            asked.append(token)
            return super().decode(token, verify)

    now = state.token_backend
    monkeypatch.setattr(state, "token_backend", Recording(now.algorithm, now.signing_key))
    AccessToken(raw)
    assert asked == [raw]


class OwnBackend(AccessToken):
    _token_backend = TokenBackend("HS256", "the key of one class, long enough for every hash of it")


class OwnWay(AccessToken):
    @property
    def token_backend(self) -> Any:
        return OwnBackend._token_backend


@pytest.mark.parametrize("kind", [OwnBackend, OwnWay])
def test_a_class_may_have_a_backend_of_its_own(kind: Any, user: AbstractUser) -> None:
    raw = str(kind.for_user(user))
    assert kind(raw)
    with pytest.raises(TokenError):
        AccessToken(raw)


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("leeway", [None, 0, 30, -30, timedelta(seconds=30)], ids=str)
@pytest.mark.parametrize("seconds", [-3600, -31, -29, 0, 29, 31, 3600, -29.5, "soon", None])
def test_an_end_has_passed_when_simplejwt_says_so(
    seconds: Any, leeway: Any, use_tz: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.USE_TZ = use_tz
    monkeypatch.setattr(state.token_backend, "leeway", leeway)
    token = AccessToken()
    now = int(time.time())
    token.payload["exp"] = now + seconds if isinstance(seconds, int | float) else seconds

    def answer(check: Any) -> str:
        try:
            check(token)
        except (TokenError, TypeError) as error:
            return f"{type(error).__name__}: {error}"
        return "fine"

    assert answer(AccessToken.check_exp) == answer(base.Token.check_exp)
    del token.payload["exp"]
    assert answer(AccessToken.check_exp) == answer(base.Token.check_exp)


def test_a_class_that_judges_the_end_itself_is_asked(user: AbstractUser) -> None:
    asked = []

    class Never(AccessToken):
        def check_exp(self, claim: str = "exp", current_time: Any = None) -> None:
            asked.append(claim)
            raise TokenError("never")

    with pytest.raises(TokenError, match="never"):
        Never(str(AccessToken.for_user(user)))
    assert asked == ["exp"]


def test_a_module_that_another_thread_is_importing_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the first requests of a process with threads."""
    text = str(AccessToken())
    waited: list[str] = []

    def import_module(name: str) -> Any:
        waited.append(name)
        return state

    monkeypatch.setitem(sys.modules, state.__name__, ModuleType(state.__name__))
    monkeypatch.setattr(revocable, "import_module", import_module)
    assert AccessToken(text).payload
    assert set(waited) == {state.__name__}
