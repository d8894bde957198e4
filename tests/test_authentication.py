from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework_simplejwt import authentication as simplejwts
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken

from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.claims import Claims
from tokens.conf import simplejwt
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
def test_one_statement_answers_whatever_the_token_classes_and_another_says_why(
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
    assert (refusal.value.status_code, len(ran)) == (401, 2)


@pytest.mark.parametrize("authentication", CLASSES)
@pytest.mark.parametrize(
    "claims", [{"exp": 1e300}, {"jti": 5}, {"iat": []}, {"user_id": ...}, {"user_id": {}}], ids=str
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


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tokens whose claims were read, one for each reading."""
    of, seen = Claims.of, []

    def count(token: Any) -> Claims:
        seen.append(token)
        return of(token)

    monkeypatch.setattr(Claims, "of", count)
    return seen


@pytest.mark.parametrize("authentication", [*CLASSES, OwnUsers])
@pytest.mark.usefixtures("token_classes")
def test_the_claims_of_a_token_are_read_once(
    authentication: type, user: AbstractUser, readings: list[Any]
) -> None:
    access = str(RefreshToken.for_user(user).access_token)
    readings.clear()
    authenticate(authentication, access)
    assert len(readings) == 1


def test_a_request_reads_the_claims_once(
    api: APIClient, user: AbstractUser, readings: list[Any]
) -> None:
    access = str(RefreshToken.for_user(user).access_token)
    readings.clear()
    assert api.get("/api/me/", HTTP_AUTHORIZATION=f"Bearer {access}").status_code == 200
    assert len(readings) == 1


@pytest.mark.parametrize("change", ["item", "payload", "lifetime", "deletion"])
def test_claims_that_changed_are_read_again(
    user: AbstractUser, readings: list[Any], change: str
) -> None:
    token = RefreshToken.for_user(user).access_token
    before = token.claims
    if change == "item":
        token[simplejwt.JTI_CLAIM] = "another"
    elif change == "payload":
        token.payload[simplejwt.JTI_CLAIM] = "another"
    elif change == "lifetime":
        token.set_exp(lifetime=timedelta(days=1))
    else:
        del token["sid"]
    readings.clear()
    assert token.claims != before
    assert token.claims == Claims.of(token)
    assert len(readings) == 2  # one of them is ours


class TwoTokens(JWTAuthentication):
    """A project that verifies another token while it validates the one of the request."""

    other = ""

    def get_validated_token(self, raw_token: bytes) -> Any:
        AccessToken(self.other)
        return super().get_validated_token(raw_token)


def test_another_token_that_a_subclass_verifies_is_asked_about(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, other = RefreshToken.for_user(user).access_token, RefreshToken.for_user(user)
    monkeypatch.setattr(TwoTokens, "other", str(other.access_token))
    assert authenticate(TwoTokens, access)
    other.blacklist()
    with pytest.raises(TokenError, match="blacklisted"):
        authenticate(TwoTokens, access)


class OtherHeader(simplejwts.JWTAuthentication):
    """A mixin of a project that finds the token somewhere else."""

    def authenticate(self, request: Request) -> Any:
        raw = request.META.get("HTTP_X_TOKEN", "").encode()
        token = self.get_validated_token(raw)
        return self.get_user(token), token


class FromOtherHeader(JWTAuthentication, OtherHeader):
    pass


def test_a_mixin_that_finds_the_token_elsewhere_costs_one_statement(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    refresh = RefreshToken.for_user(user)
    request = Request(APIRequestFactory().get("/", HTTP_X_TOKEN=str(refresh.access_token)))
    with statements() as ran:
        assert FromOtherHeader().authenticate(request)
    assert len(ran) == 1
    refresh.blacklist()
    with pytest.raises(APIException, match="blacklisted"):
        FromOtherHeader().authenticate(request)


def test_a_token_with_an_odd_claim_names_no_user() -> None:
    token = AccessToken()
    token[USER_ID], token["iat"] = "1", []
    for authentication in CLASSES:
        with pytest.raises(APIException) as refusal:
            authentication().get_user(token)
        assert refusal.value.status_code == 401
