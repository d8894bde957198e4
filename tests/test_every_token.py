"""A revocation reaches every token it means, until the last of them has expired."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from rest_framework.exceptions import APIException
from rest_framework.test import APIClient
from rest_framework_simplejwt import state
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import cleanup, clock, sessions
from tokens.api.authentication import JWTStatelessUserAuthentication
from tokens.conf import simplejwt
from tokens.jwt import AccessToken, RefreshToken, SlidingToken
from tokens.keys import new_sid, uuid7
from tokens.models import BlacklistEntry, TokenSession

from .conftest import DAY, HOUR, MINUTE, SECOND, Login, bearer
from .forge import signed
from .test_authentication import authenticate

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()


@pytest.fixture
def lifetimes(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set lifetimes, without rotation, as simplejwt has it."""

    def set_them(**names: Any) -> None:
        # simplejwt reads it once.
        monkeypatch.setattr(state.token_backend, "leeway", names.get("LEEWAY", 0))
        settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": False} | names

    return set_them


@pytest.fixture
def later(time_machine: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Move this host's clock, and the database's with it."""
    monkeypatch.setattr(clock, "database_now", lambda _using: clock.now())
    time_machine.move_to(clock.aware(clock.now()), tick=False)
    return lambda time: time_machine.shift(time)


def status(token: object) -> int:
    return int(APIClient().get("/api/me/", **bearer(token)).status_code)


def is_refused_without_asking_for_the_user(token: object) -> bool:
    try:
        authenticate(JWTStatelessUserAuthentication, token)
    except APIException:
        return True
    return False


def deactivate(user: AbstractUser) -> None:
    user.is_active = False
    user.save()


def change_password(user: AbstractUser) -> None:
    user.set_password("another long password")
    user.save()


ENDS: dict[str, Callable[[AbstractUser, str], Any]] = {
    "logout/all/": lambda _user, access: APIClient().post("/api/logout/all/", **bearer(access)),
    "end_all": lambda user, _access: sessions.end_all(user),
    "end_for": lambda user, _access: sessions.end_for(User.objects.filter(pk=user.pk)),
    "a new password": lambda user, _access: change_password(user),
    "deactivation": lambda user, _access: deactivate(user),
    "deletion": lambda user, _access: user.delete(),
    "revoke_tokens": lambda user, _access: call_command(
        "revoke_tokens", user=user.get_username(), verbosity=0
    ),
    "revoke_tokens for all": lambda _user, _access: call_command(
        "revoke_tokens", all_users=True, interactive=False, verbosity=0
    ),
}


@pytest.mark.parametrize("leeway", [0, pytest.param(30, marks=pytest.mark.any_database)])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_access_token_that_outlives_its_refresh_token_is_reached(
    end: Callable[[AbstractUser, str], Any],
    leeway: int,
    user: AbstractUser,
    lifetimes: Any,
    later: Any,
) -> None:
    lifetimes(ACCESS_TOKEN_LIFETIME=HOUR, REFRESH_TOKEN_LIFETIME=MINUTE, LEEWAY=leeway)
    login = Login(user)
    later(55 * MINUTE)
    assert cleanup.run().outcome == "succeeded"
    assert (status(login.access), login.refresh().status_code) == (200, 401)
    end(user, login.access)
    assert is_refused_without_asking_for_the_user(login.access)
    assert status(login.access) == 401
    later(4 * MINUTE)
    cleanup.run()
    assert is_refused_without_asking_for_the_user(login.access)


def test_the_row_of_a_session_goes_with_its_last_access_token(
    user: AbstractUser, lifetimes: Any, later: Any
) -> None:
    lifetimes(ACCESS_TOKEN_LIFETIME=HOUR, REFRESH_TOKEN_LIFETIME=MINUTE, LEEWAY=30)
    login = Login(user)
    later(MINUTE + 27 * SECOND)
    access = login.refresh().json()["access"]  # in the leeway of the refresh token
    later(HOUR + 27 * SECOND)
    assert status(access) == 200  # in its own leeway
    later(4 * MINUTE)
    assert cleanup.run().sessions_removed == 0
    later(2 * MINUTE)
    assert status(access) == 401
    assert cleanup.run().sessions_removed == 1


def test_a_session_that_is_no_longer_live_is_neither_listed_nor_counted(
    user: AbstractUser, lifetimes: Any, later: Any, settings: Any
) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = 1
    lifetimes(ACCESS_TOKEN_LIFETIME=HOUR, REFRESH_TOKEN_LIFETIME=MINUTE)
    old = Login(user)
    later(2 * MINUTE)
    new = Login(user)
    assert status(old.access) == 200  # the limit is for sessions that may be refreshed
    found = new.api.get("/api/sessions/", **bearer(new.access)).json()["results"]
    assert [one["sid"] for one in found] == [AccessToken(new.access)["sid"]]
    sid = AccessToken(old.access)["sid"]
    assert new.api.delete(f"/api/sessions/{sid}/", **bearer(new.access)).status_code == 204
    assert status(old.access) == 401


# What other issuers and projects put into a claim of that name.
FOREIGN = {
    "a shop": "store-5",
    "a UUIDv4": "6f1c1f9e-1f3b-4a52-9d60-0a0f6a7c0001",
    "a UUIDv7": str(uuid7()),
    "ours in capitals": new_sid().upper(),
    "ours without hyphens": new_sid().replace("-", ""),
    "ours with another end": new_sid()[:-1] + "g",
    "a number": 17,
    "null": None,
    "a list": ["x"],
    "an object": {"id": 1},
    "long": "x" * 500,
    "empty": "",
}


@pytest.fixture(params=FOREIGN.values(), ids=FOREIGN)
def foreign(request: pytest.FixtureRequest) -> Any:
    return request.param


def of_user(user: AbstractUser, **claims: Any) -> str:
    return signed(user_id=str(getattr(user, simplejwt.USER_ID_FIELD)), **claims)


@pytest.mark.any_database
def test_a_foreign_sid_ends_nobody_elses_token(foreign: Any, make_user: Any) -> None:
    ada = of_user(make_user("ada"), jti="one", sid=foreign)
    bob = of_user(make_user("bob"), jti="two", sid=foreign)
    assert APIClient().post("/api/logout/", **bearer(ada)).status_code == 204
    assert (status(ada), status(bob)) == (401, 200)
    assert BlacklistEntry.objects.get().scope == "token"


@pytest.mark.any_database
def test_a_foreign_sid_hides_no_token_from_its_users_logout(
    foreign: Any, user: AbstractUser, settings: Any
) -> None:
    for max_age in (timedelta(0), SECOND):
        settings.TOKENS_CHECK_MAX_AGE = max_age
        access = of_user(user, sid=foreign, jti=f"of {max_age}")
        assert status(access) == 200
        assert APIClient().post("/api/logout/all/", **bearer(access)).status_code == 200
        assert status(access) == 401
        assert is_refused_without_asking_for_the_user(access)
        BlacklistEntry.objects.all().delete()


@pytest.mark.any_database
def test_the_logout_of_a_token_with_a_foreign_sid_outlasts_the_cleanup(
    foreign: Any, user: AbstractUser, later: Any, lifetimes: Any
) -> None:
    lifetimes(ACCESS_TOKEN_LIFETIME=MINUTE)
    access = of_user(user, sid=foreign, exp=clock.to_epoch(clock.now() + DAY))
    assert APIClient().post("/api/logout/", **bearer(access)).status_code == 204
    later(DAY - MINUTE)
    cleanup.run()
    assert status(access) == 401
    assert BlacklistEntry.objects.count() == 1


@pytest.mark.any_database
@pytest.mark.parametrize("rotate", [True, False])
def test_a_refresh_token_with_a_foreign_sid_is_one_of_plain_simplejwt(
    foreign: Any, rotate: bool, user: AbstractUser, lifetimes: Any
) -> None:
    lifetimes(ROTATE_REFRESH_TOKENS=rotate)
    plain = PlainRefreshToken.for_user(user)
    plain["sid"] = foreign
    api = APIClient()
    answer = api.post("/api/token/refresh/", {"refresh": str(plain)})
    assert answer.status_code == 200
    assert status(answer.json()["access"]) == 200
    assert TokenSession.objects.count() == rotate
    api.post("/api/logout/", {"refresh": str(plain)})
    again = {"refresh": answer.json().get("refresh", str(plain))}
    assert api.post("/api/token/refresh/", again).status_code == 401


@pytest.mark.any_database
def test_a_project_may_keep_its_own_claim_of_that_name(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_SESSION_CLAIM = "login"
    token = RefreshToken.for_user(user)
    token["sid"] = "store-5"
    access = str(token.access_token)
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(token)}).json()
    successor = RefreshToken(answer["refresh"])
    assert (successor["sid"], successor["login"]) == ("store-5", token["login"])
    assert sessions.end_all(user) == 1
    assert (status(access), status(answer["access"])) == (401, 401)


@pytest.mark.any_database
def test_renaming_the_claim_revives_no_token(user: AbstractUser, settings: Any) -> None:
    ended, going_on = Login(user), Login(user)
    ended.logout()
    settings.TOKENS_SESSION_CLAIM = "login"
    assert (status(ended.access), ended.refresh().status_code) == (401, 401)
    answer = going_on.refresh()
    assert (
        RefreshToken(answer.json()["refresh"])["login"]
        == RefreshToken(going_on.refresh_token)["sid"]
    )
    sessions.end_all(user)
    assert (status(going_on.access), status(answer.json()["access"])) == (401, 401)


def from_text(user: AbstractUser) -> Any:
    return RefreshToken(Login(user).refresh_token)


@pytest.mark.any_database
@pytest.mark.parametrize("value", ["store-5", ..., new_sid()], ids=["own", "deleted", "another's"])
@pytest.mark.parametrize(
    "make",
    [RefreshToken.for_user, lambda user: RefreshToken.for_user(user).access_token, from_text],
)
def test_overwriting_our_claim_is_one_clear_error(
    make: Callable[[AbstractUser], Any], value: Any, user: AbstractUser
) -> None:
    token = make(user)
    str(token)
    if value is ...:
        del token["sid"]
    else:
        token["sid"] = value
    with pytest.raises(ImproperlyConfigured, match="TOKENS_SESSION_CLAIM"):
        str(token)


def test_a_token_without_a_session_may_carry_any_sid(user: AbstractUser) -> None:
    token = AccessToken.for_user(user)
    token["sid"] = "store-5"
    assert status(token) == 200


@pytest.mark.any_database
@pytest.mark.parametrize("kind", [AccessToken, SlidingToken])
def test_a_token_without_a_session_may_not_outlive_the_entry_of_its_user(
    kind: type, user: AbstractUser, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (AccessToken, SlidingToken))
    settings.TOKENS_LONGEST_LIFETIME = 10 * DAY
    token = kind.for_user(user)  # type: ignore[attr-defined]
    claim = "refresh_exp" if kind is SlidingToken else "exp"
    token.set_exp(claim, lifetime=9 * DAY)
    assert status(token) == 200
    token.set_exp(claim, lifetime=10 * DAY + SECOND)
    assert status(token) == 401
    assert is_refused_without_asking_for_the_user(token)
    settings.TOKENS_LONGEST_LIFETIME = None
    assert status(token) == 200


@pytest.mark.any_database
def test_a_token_of_unknown_age_is_refused_while_there_is_a_limit(
    user: AbstractUser, settings: Any
) -> None:
    token = of_user(user, iat=...)
    assert status(token) == 401
    settings.TOKENS_LONGEST_LIFETIME = None
    assert status(token) == 200


def test_the_entry_of_a_user_goes_when_the_longest_token_has_expired(
    user: AbstractUser, settings: Any, later: Any
) -> None:
    settings.TOKENS_LONGEST_LIFETIME = 10 * DAY
    token = AccessToken.for_user(user)
    token.set_exp(lifetime=10 * DAY)
    sessions.end_all(user)
    later(10 * DAY - MINUTE)
    assert cleanup.run().entries_removed == 0
    assert status(token) == 401
    sessions.end_all(user)  # once more: the entry lasts longer
    later(MINUTE)
    assert cleanup.run().entries_removed == 0
    later(11 * DAY)
    assert cleanup.run().entries_removed == 1
    assert status(token) == 401  # expired


def test_a_limit_at_the_end_of_time_is_none(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_LONGEST_LIFETIME = timedelta.max
    sessions.end_all(user)
    assert BlacklistEntry.objects.get().expires_at == clock.end_of_time()
