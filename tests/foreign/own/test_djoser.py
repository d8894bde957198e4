"""djoser over our tokens, through its endpoints."""

from typing import Any

import pytest
from conftest import PASSWORD, bearer
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from tokens import sessions
from tokens.models import TokenSession

pytestmark = pytest.mark.django_db(transaction=True)


def log_in() -> Any:
    answer = post("jwt/create/", {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 200, answer.json()
    return answer.json()


def post(url: str, data: dict[str, str] | None = None, **headers: Any) -> Any:
    return APIClient().post(f"/djoser/{url}", data or {}, **headers)


def me(access: str) -> int:
    return int(APIClient().get("/djoser/users/me/", **bearer(access)).status_code)


def is_dead(tokens: Any) -> bool:
    answers = [me(tokens["access"]), post("jwt/verify/", {"token": tokens["access"]}).status_code]
    answers.append(post("jwt/refresh/", {"refresh": tokens["refresh"]}).status_code)
    assert answers in ([401] * 3, [200] * 3)
    return answers == [401] * 3


@pytest.mark.usefixtures("user")
def test_log_in_refresh_and_log_out_by_our_endpoint() -> None:
    first = log_in()
    assert TokenSession.objects.count() == 1
    second = post("jwt/refresh/", {"refresh": first["refresh"]}).json()
    assert not is_dead(second)
    third = post("jwt/refresh/", {"refresh": second["refresh"]}).json()
    answer = APIClient().post("/tokens/logout/", {"refresh": third["refresh"]})
    assert answer.status_code == 204
    assert is_dead(third)


@pytest.mark.usefixtures("user")
def test_a_reused_refresh_token_ends_the_session(settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = type(settings.SIMPLE_JWT["REFRESH_TOKEN_LIFETIME"])(0)
    first = log_in()
    second = post("jwt/refresh/", {"refresh": first["refresh"]}).json()
    assert post("jwt/refresh/", {"refresh": first["refresh"]}).status_code == 401
    assert is_dead(second)


def test_a_new_password_ends_every_login(user: Any) -> None:
    one, two = log_in(), log_in()
    new = {"current_password": PASSWORD, "new_password": "quite another one"}
    assert post("users/set_password/", new, **bearer(one["access"])).status_code == 204
    assert is_dead(one)
    assert is_dead(two)
    assert sessions.of_user(user).count() == 0


def test_a_deleted_user_is_logged_out(user: Any) -> None:
    one, two = log_in(), log_in()
    gone = APIClient().delete(
        "/djoser/users/me/", {"current_password": PASSWORD}, **bearer(one["access"])
    )
    assert gone.status_code == 204
    assert not get_user_model().objects.exists()
    assert is_dead(one)
    assert is_dead(two)


@pytest.mark.usefixtures("db")
def test_a_social_login_is_a_session() -> None:
    answer = post("o/fake/?code=grace")
    assert answer.status_code == 201, answer.content
    tokens = answer.json()
    session = TokenSession.objects.get()
    assert session.user.get_username() == "grace"
    assert not is_dead(tokens)
    assert sessions.end_all(session.user) == 1
    assert me(tokens["access"]) == 401
    assert post("jwt/refresh/", {"refresh": tokens["refresh"]}).status_code == 401
