"""Users whose USER_ID_FIELD is empty, tokens that name nobody, and ids of unusual types."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import AbstractUser
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings

from tokens import sessions
from tokens.api.authentication import JWTAuthentication
from tokens.claims import Claims
from tokens.jwt import AccessToken, RefreshToken

from .conftest import Login, alive, bearer, dead

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def by_email(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"USER_ID_FIELD": "email"}
    monkeypatch.setattr(api_settings, "USER_ID_FIELD", "email")


@pytest.mark.usefixtures("by_email")
def test_their_sessions_tell_them_apart(make_user: Any) -> None:
    ada, bo = make_user("ada"), make_user("bo")
    first, second = Login(ada), Login(bo)
    assert first.me().json()["username"] == "ada"
    assert second.me().json()["username"] == "bo"
    assert sessions.end_all(ada) == 1
    assert dead(first)
    assert alive(second)


@pytest.mark.usefixtures("by_email")
@pytest.mark.parametrize("others", [0, 1])
def test_without_a_session_an_empty_id_names_nobody(others: int, make_user: Any, api: Any) -> None:
    user = make_user("ada")
    for number in range(others):
        make_user(f"other{number}")
    token = AccessToken.for_user(user)
    assert token["user_id"] == ""
    assert api.get("/api/me/", **bearer(token)).status_code == 401
    with pytest.raises(TokenError):
        AccessToken(str(token))
    refresh = RefreshToken()
    refresh["user_id"] = ""
    assert api.post("/api/token/refresh/", {"refresh": str(refresh)}).status_code == 401


@pytest.mark.usefixtures("by_email")
def test_a_guest_is_not_logged_out_with_a_user_whose_id_is_empty(
    user: AbstractUser, settings: Any
) -> None:
    guest = str(AccessToken())
    sessions.end_all(user)
    assert AccessToken(guest)
    token = AccessToken(guest)
    token.blacklist()
    with pytest.raises(TokenError):
        AccessToken(guest)


def test_an_empty_id_is_no_key_of_a_user(user: AbstractUser, api: Any) -> None:
    token = AccessToken()
    token["user_id"] = ""
    assert api.get("/api/me/", **bearer(token)).status_code == 401
    with pytest.raises(TokenError):
        AccessToken(str(token))


def test_a_mapping_stands_for_a_token(user: AbstractUser) -> None:
    payload: Any = dict(AccessToken.for_user(user).payload)
    assert JWTAuthentication().get_user(payload) == user
    with pytest.raises(AuthenticationFailed):
        JWTAuthentication().get_user(payload | {"user_id": str(user.pk + 1)})
    with pytest.raises(AuthenticationFailed):
        JWTAuthentication().get_user({"user_id": str(user.pk)})  # type: ignore[arg-type]


@pytest.mark.any_database
def test_an_id_given_as_a_uuid_is_its_text() -> None:
    pk: UUID = uuid4()
    token = AccessToken()
    token.payload["user_id"] = pk
    assert Claims.of(token).user_id == str(pk)
    assert token.claims.user_id == str(pk)
