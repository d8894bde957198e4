"""How long refresh tokens live: "remember me", and an absolute limit after the login."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractUser
from rest_framework_simplejwt import tokens as simplejwt_tokens
from rest_framework_simplejwt.exceptions import TokenError

from tokens import blacklist, clock, sessions
from tokens.jwt import AccessToken, AnyToken, RefreshToken, SlidingToken
from tokens.models import TokenSession

from .conftest import DAY, HOUR, MINUTE, PASSWORD, SECOND, Login, bearer
from .snippets import HOWTO, snippet

pytestmark = pytest.mark.django_db(transaction=True)

MONTH = timedelta(days=30)

Later = Callable[[timedelta], None]


@pytest.fixture
def later(time_machine: Any, settings: Any) -> Later:
    settings.USE_TZ = True

    def move(by: timedelta) -> None:
        time_machine.shift(by)

    time_machine.move_to(clock.now(), tick=False)
    return move


def refresh(api: Any, token: object) -> Any:
    return api.post("/api/token/refresh/", {"refresh": str(token)})


def lives(token: object) -> timedelta:
    found = AnyToken(str(token))
    return timedelta(seconds=found["exp"] - found["iat"])


def given(user: AbstractUser) -> RefreshToken:
    return RefreshToken.for_user(user, lifetime=MONTH)


def lengthened(user: AbstractUser) -> RefreshToken:
    token = RefreshToken.for_user(user)
    token.set_exp(lifetime=MONTH)
    return token


def in_async_code(user: AbstractUser) -> RefreshToken:
    return async_to_sync(RefreshToken.afor_user)(user, lifetime=MONTH)


def of_a_class(user: AbstractUser) -> RefreshToken:
    class Long(RefreshToken):
        lifetime: Any = MONTH

    return Long.for_user(user)


def plain(user: AbstractUser) -> Any:
    token: Any = simplejwt_tokens.Token.for_user.__func__(  # type: ignore[attr-defined]
        simplejwt_tokens.RefreshToken, user
    )
    token.set_exp(lifetime=MONTH)
    return token


@pytest.mark.parametrize("make", [given, lengthened, plain, in_async_code])
def test_successors_live_as_long_as_their_predecessor(
    user: AbstractUser, api: Any, make: Any, later: Later
) -> None:
    token = str(make(user))
    assert lives(token) == MONTH
    for _ in range(3):
        later(29 * DAY)
        answer = refresh(api, token)
        assert answer.status_code == 200, answer.json()
        token = answer.json()["refresh"]
        assert lives(token) == MONTH
    session = TokenSession.objects.get()
    assert session.lifetime == MONTH
    assert session.expires_at == clock.from_epoch(AnyToken(token)["exp"])


def test_a_shorter_life_lasts_too(user: AbstractUser, api: Any) -> None:
    token = RefreshToken.for_user(user, lifetime=HOUR)
    assert lives(refresh(api, token).json()["refresh"]) == HOUR


def test_the_life_of_a_class_or_a_setting_is_not_kept_for_the_session(
    user: AbstractUser, api: Any, settings: Any
) -> None:
    """So that a project that changes the setting changes it for sessions that are there."""
    old = str(RefreshToken.for_user(user))
    long = of_a_class(user)
    assert lives(long) == MONTH
    assert list(TokenSession.objects.values_list("lifetime", flat=True)) == [None, None]
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"REFRESH_TOKEN_LIFETIME": 2 * DAY}
    assert lives(refresh(api, old).json()["refresh"]) == 2 * DAY


def test_two_tabs_of_a_remembered_login_get_one_successor(user: AbstractUser, api: Any) -> None:
    token = given(user)
    first, second = (refresh(api, token).json()["refresh"] for _ in range(2))
    assert AnyToken(first).payload == AnyToken(second).payload
    assert lives(second) == MONTH


def test_the_snippet_for_remember_me(user: AbstractUser, api: Any) -> None:
    page: dict[str, Any] = {}
    code = snippet("sessions", language="python", beginning="from datetime", folder=HOWTO)
    exec(code, page)  # noqa: S102
    for remember, expected in ((True, MONTH), (False, DAY)):
        given = {"username": "ada", "password": PASSWORD, "remember": remember}
        serializer = page["LoginSerializer"](data=given)
        assert serializer.is_valid(raise_exception=True)
        answer = refresh(api, serializer.validated_data["refresh"])
        assert lives(answer.json()["refresh"]) == expected


@pytest.mark.parametrize("lifetime", [timedelta(0), -SECOND])
def test_a_lifetime_must_be_positive(user: AbstractUser, lifetime: timedelta) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        RefreshToken.for_user(user, lifetime=lifetime)
    assert not TokenSession.objects.exists()


def test_a_remembered_login_takes_as_few_statements(
    user: AbstractUser, api: Any, statements: Any
) -> None:
    with statements() as ran:
        token = str(given(user))
    assert len(ran) == 1
    with statements() as ran:
        refresh(api, token)
    assert len(ran) == 2


class TestMaxAge:
    """TOKENS_SESSION_MAX_AGE."""

    @pytest.fixture(autouse=True)
    def limit(self, settings: Any) -> None:
        settings.TOKENS_SESSION_MAX_AGE = 3 * DAY
        settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"REFRESH_TOKEN_LIFETIME": 2 * DAY}

    def test_no_refresh_token_outlives_the_login_by_more(
        self, user: AbstractUser, later: Later
    ) -> None:
        login = Login(user)
        end = clock.now() + 3 * DAY
        for _ in range(5):
            later(14 * HOUR)
            answer = login.refresh()
            assert answer.status_code == 200
            login.refresh_token = answer.json()["refresh"]
            assert clock.from_epoch(AnyToken(login.refresh_token)["exp"]) <= end
        later(end - clock.now() + SECOND)
        assert login.refresh().status_code == 401

    @pytest.mark.parametrize("make", [given, lengthened])
    def test_it_ends_remembered_logins_from_the_start(self, user: AbstractUser, make: Any) -> None:
        token = str(make(user))
        assert lives(token) == 3 * DAY
        assert TokenSession.objects.get().expires_at == clock.from_epoch(AnyToken(token)["exp"])

    @pytest.mark.parametrize("rotates", [True, False])
    def test_a_session_from_before_the_setting_ends_too(
        self, user: AbstractUser, settings: Any, later: Later, api: Any, rotates: bool
    ) -> None:
        settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotates}
        settings.TOKENS_SESSION_MAX_AGE = None
        token = str(given(user))
        later(4 * DAY)
        assert api.post("/api/token/verify/", {"token": token}).status_code == 200
        settings.TOKENS_SESSION_MAX_AGE = 3 * DAY
        for path, name in (("token/refresh", "refresh"), ("token/verify", "token")):
            answer = api.post(f"/api/{path}/", {name: token})
            assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid")
            assert answer.json()["reason"] == "expired"
        assert TokenSession.objects.count() == 1, "a question ends nothing"
        assert not TokenSession.objects.get().is_live
        assert not sessions.of_user(user).exists()

    @pytest.mark.parametrize("rotates", [True, False])
    def test_a_token_of_plain_simplejwt_counts_from_when_it_was_issued(
        self, user: AbstractUser, settings: Any, later: Later, api: Any, rotates: bool
    ) -> None:
        settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotates}
        token = str(plain(user))
        later(3 * DAY + MINUTE)
        assert api.post("/api/token/verify/", {"token": token}).status_code == 401
        assert refresh(api, token).status_code == 401

    def test_a_guest_s_token_too(self, settings: Any, later: Later, api: Any, db: None) -> None:
        token = simplejwt_tokens.RefreshToken()
        token.set_exp(lifetime=MONTH)
        later(3 * DAY + MINUTE)
        assert refresh(api, token).status_code == 401
        with pytest.raises(TokenError):
            AnyToken(str(token))

    def test_a_sliding_token_is_extended_until_then(
        self, user: AbstractUser, settings: Any, later: Later
    ) -> None:
        settings.SIMPLE_JWT = settings.SIMPLE_JWT | {
            "SLIDING_TOKEN_LIFETIME": 2 * DAY,
            "SLIDING_TOKEN_REFRESH_LIFETIME": MONTH,
        }
        token = SlidingToken.for_user(user)
        token.set_exp("refresh_exp", lifetime=MONTH)
        later(DAY + 12 * HOUR)
        token = SlidingToken(str(token))
        token.extend()
        assert lives(token) == 3 * DAY
        later(DAY + 12 * HOUR + SECOND)
        token.current_time += DAY + 12 * HOUR + SECOND
        with pytest.raises(TokenError, match="Token is expired"):
            token.extend()

    @pytest.mark.parametrize("limit", [timedelta.max, timedelta(days=999_999)])
    def test_it_may_be_as_long_as_you_like(
        self, user: AbstractUser, settings: Any, limit: timedelta
    ) -> None:
        settings.TOKENS_SESSION_MAX_AGE = limit
        login = Login(user)
        assert login.refresh().status_code == 200
        assert sessions.of_user(user).count() == 1

    def test_the_leeway_counts(self, user: AbstractUser, settings: Any, later: Later) -> None:
        settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"LEEWAY": 60}
        login = Login(user)
        TokenSession.objects.update(created_at=clock.now() - 3 * DAY - 59 * SECOND)
        assert login.refresh().status_code == 200
        TokenSession.objects.update(created_at=clock.now() - 3 * DAY - 61 * SECOND)
        assert login.refresh().status_code == 401

    def test_access_tokens_go_on_until_they_expire(self, user: AbstractUser) -> None:
        login = Login(user)
        TokenSession.objects.update(created_at=clock.now() - 4 * DAY)
        assert login.me().status_code == 200
        assert not blacklist.is_revoked(AccessToken(login.access).claims)
        assert login.api.get("/api/sessions/", **bearer(login.access)).status_code == 200
