"""simplejwt's own token classes, imported by other packages or forgotten in a project."""

import copy
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from rest_framework.test import APIClient
from rest_framework_simplejwt import authentication, tokens
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken as ImportedBefore

from tokens import sessions
from tokens.jwt import AccessToken, LoginOutdated, RefreshToken, RevocableToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import DAY, Login, bearer
from .test_authentication import authenticate

pytestmark = pytest.mark.django_db(transaction=True)


class Theirs(tokens.RefreshToken):
    """A project's class, with claims of its own."""

    lifetime = 3 * DAY
    made = 0

    @classmethod
    def for_user(cls, user: Any) -> Any:
        token = super().for_user(user)
        token["tier"] = "gold"
        cls.made += 1
        return token

    def blacklist(self) -> Any:  # type: ignore[override]
        return "theirs", super().blacklist()


CLASSES = [ImportedBefore, Theirs]


@pytest.fixture(autouse=True)
def patched(settings: Any) -> None:
    del settings.TOKENS_PATCH_SIMPLEJWT


def me(access: object) -> int:
    return int(APIClient().get("/api/me/", **bearer(access)).status_code)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_login_by_their_class_is_a_session(kind: Any, user: AbstractUser) -> None:
    token = kind.for_user(user)
    assert isinstance(token, kind)
    assert isinstance(token, RevocableToken)
    assert str(TokenSession.objects.get().sid) == token["sid"] == token.access_token["sid"]
    listed = APIClient().get("/api/sessions/", **bearer(token.access_token)).json()["results"]
    assert [one["current"] for one in listed] == [True]
    assert sessions.end_all(user) == 1
    assert me(token.access_token) == 401
    with pytest.raises(TokenError):
        kind(str(token))


def test_methods_of_a_subclass_stay_in_force(user: AbstractUser) -> None:
    made = Theirs.made
    token = Theirs.for_user(user)
    assert (token["tier"], Theirs.made, token.lifetime) == ("gold", made + 1, 3 * DAY)
    session = TokenSession.objects.get()
    assert session.expires_at - session.created_at > 2 * DAY
    assert Theirs(str(token)).blacklist()[0] == "theirs"
    assert me(token.access_token) == 401


@pytest.mark.parametrize("kind", CLASSES)
def test_a_logout_by_their_class_revokes(kind: Any, user: AbstractUser) -> None:
    login = Login(user)
    kind(login.refresh_token).blacklist()
    assert (login.me().status_code, login.refresh().status_code) == (401, 401)


@pytest.mark.parametrize(
    "kind", [tokens.AccessToken, tokens.SlidingToken, tokens.UntypedToken, tokens.RefreshToken]
)
def test_their_classes_ask_the_blacklist(kind: Any, user: AbstractUser) -> None:
    source = tokens.AccessToken if kind is tokens.UntypedToken else kind
    text = str(source.for_user(user))
    assert kind(text)
    sessions.end_all(user)
    with pytest.raises(TokenError):
        kind(text)
    kind(text, verify=False)


def test_their_authentication_class_refuses_too(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (tokens.AccessToken,))
    token = tokens.RefreshToken.for_user(user)
    access = token.access_token
    assert authenticate(authentication.JWTAuthentication, access)[0] == user
    token.blacklist()
    with pytest.raises(authentication.InvalidToken):
        authenticate(authentication.JWTAuthentication, access)


def test_a_login_under_way_fails_by_their_class_too(user: AbstractUser) -> None:
    before = type(user)._base_manager.get(pk=user.pk)
    user.set_password("another long password")
    user.save()
    for kind in CLASSES:
        with pytest.raises(LoginOutdated):
            kind.for_user(before)


def test_tokens_are_made_and_copied_as_before(user: AbstractUser) -> None:
    token = copy.copy(Theirs.for_user(user))
    token.set_exp(lifetime=9 * DAY)
    str(token)
    session = TokenSession.objects.get()
    assert session.expires_at - session.created_at > 8 * DAY
    empty = tokens.RefreshToken()
    assert (empty["token_type"], "sid" in empty) == ("refresh", False)
    assert type(AccessToken()) is AccessToken
    assert type(tokens.AccessToken()) is AccessToken
    assert type(Theirs()) is type(Theirs())


def test_classes_of_other_types_are_left_alone(user: AbstractUser) -> None:
    class Half(tokens.Token):
        token_type = "half"
        lifetime = DAY

    half = Half.for_user(user)
    sessions.end_all(user)
    assert Half(str(half))["token_type"] == "half"
    assert not isinstance(half, RevocableToken)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_setting_switches_it_off(kind: Any, user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_PATCH_SIMPLEJWT = False
    token = kind.for_user(user)
    assert "sid" not in token
    assert not isinstance(token, RevocableToken)
    assert not TokenSession.objects.exists()
    assert not hasattr(super(kind, token), "check_blacklist")
    settings.TOKENS_PATCH_SIMPLEJWT = True
    assert isinstance(kind.for_user(user), RevocableToken)
    assert not BlacklistEntry.objects.exists()
    assert RefreshToken.for_user(user)["sid"]
