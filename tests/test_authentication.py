from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework_simplejwt import authentication as simplejwts
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken

from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.jwt import AccessToken, RefreshToken, SlidingToken

from .forge import USER_ID, signed

pytestmark = pytest.mark.django_db(transaction=True)

CLASSES = [JWTAuthentication, JWTStatelessUserAuthentication]


def authenticate(authentication: type, token: object) -> Any:
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {token}")
    return authentication().authenticate(Request(request))


@pytest.fixture(params=["ours", "simplejwt's"])
def token_classes(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = (AccessToken, SlidingToken) if request.param == "ours" else (PlainAccessToken,)
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", classes)


@pytest.mark.parametrize("authentication", CLASSES)
@pytest.mark.usefixtures("token_classes")
def test_one_statement_answers_whatever_the_token_classes(
    authentication: type, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    refresh = RefreshToken.for_user(user)
    with statements() as ran:
        found, token = authenticate(authentication, refresh.access_token)
    assert str(found.pk) in (str(user.pk), refresh[USER_ID])
    assert token["sid"] == refresh["sid"]
    assert len(ran) == 1
    refresh.blacklist()
    with statements() as ran, pytest.raises(APIException) as refusal:
        authenticate(authentication, refresh.access_token)
    assert (refusal.value.status_code, len(ran)) == (401, 1)


@pytest.mark.parametrize("authentication", CLASSES)
@pytest.mark.parametrize(
    "claims", [{"exp": 1e300}, {"jti": 5}, {"sid": []}, {"user_id": ...}, {"user_id": {}}], ids=str
)
@pytest.mark.usefixtures("token_classes")
def test_odd_claims_are_401_whatever_the_token_classes(
    authentication: type, claims: dict[str, Any]
) -> None:
    with pytest.raises(APIException) as refusal:
        authenticate(authentication, signed(**claims))
    assert refusal.value.status_code == 401


def test_the_stateless_user_needs_no_row(user: AbstractUser) -> None:
    found, _ = authenticate(JWTStatelessUserAuthentication, signed(user_id="424242"))
    assert isinstance(found, TokenUser)
    with pytest.raises(APIException, match="User not found"):
        authenticate(JWTAuthentication, signed(user_id="424242"))


def test_a_sliding_token_is_refused_once_revoked(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (SlidingToken,))
    token = SlidingToken.for_user(user)
    assert authenticate(JWTAuthentication, token)
    token.blacklist()
    with pytest.raises(APIException):
        authenticate(JWTAuthentication, token)


def test_simplejwts_own_class_refuses_our_tokens_too(user: AbstractUser) -> None:
    refresh = RefreshToken.for_user(user)
    assert authenticate(simplejwts.JWTAuthentication, refresh.access_token)
    refresh.blacklist()
    with pytest.raises(APIException):
        authenticate(simplejwts.JWTAuthentication, refresh.access_token)


def test_simplejwts_password_claim_is_still_honoured(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "CHECK_REVOKE_TOKEN", True)
    token = AccessToken.for_user(user)
    assert authenticate(JWTAuthentication, token)
    type(user).objects.update(password=make_password("another"))  # sends no signal
    with pytest.raises(APIException, match="password"):
        authenticate(JWTAuthentication, token)


def test_without_a_bearer_token_nobody_is_authenticated() -> None:
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION="Basic x")
    assert JWTAuthentication().authenticate(Request(request)) is None


class OwnUsers(JWTAuthentication):
    """A project's own way to find the user, which does not ask the blacklist."""

    def get_user(self, validated_token: Any) -> Any:
        return validated_token[USER_ID]


@pytest.mark.usefixtures("token_classes")
def test_a_subclass_with_its_own_get_user_refuses_revoked_tokens_too(user: AbstractUser) -> None:
    refresh = RefreshToken.for_user(user)
    assert authenticate(OwnUsers, refresh.access_token)
    refresh.blacklist()
    with pytest.raises(APIException, match="blacklisted"):
        authenticate(OwnUsers, refresh.access_token)


@pytest.mark.parametrize("authentication", CLASSES)
@pytest.mark.usefixtures("token_classes")
def test_validating_a_token_by_itself_asks_the_blacklist(
    authentication: Any, user: AbstractUser
) -> None:
    refresh = RefreshToken.for_user(user)
    raw = str(refresh.access_token).encode()
    assert authentication().get_validated_token(raw)
    refresh.blacklist()
    with pytest.raises(APIException, match="blacklisted"):
        authentication().get_validated_token(raw)
