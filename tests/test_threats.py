"""What docs/security.md says about attackers, and about the tests that it names."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from rest_framework.test import APIClient, APIRequestFactory

from project.settings import BASE_DIR
from tokens.models import TokenSession

from .conftest import PASSWORD, Login, alive, bearer, dead

PAGE = (BASE_DIR / "docs" / "security.md").read_text()

in_the_database = pytest.mark.django_db(transaction=True)


@in_the_database
def test_a_stolen_access_token_can_end_sessions_and_not_outlive_its_own(
    user: AbstractUser, api: APIClient
) -> None:
    robbed, other = Login(user), Login(user)
    stolen = robbed.access
    assert api.post("/api/token/refresh/", {"refresh": stolen}).status_code == 401
    assert api.get("/api/sessions/", **bearer(stolen)).json()["count"] == 2
    assert api.post("/api/logout/others/", **bearer(stolen)).json() == {"sessions_ended": 1}
    assert dead(other)
    assert alive(robbed)
    back = Login(user)
    assert api.post("/api/logout/all/", **bearer(back.access)).status_code == 200
    assert api.get("/api/me/", **bearer(stolen)).status_code == 401


@in_the_database
def test_a_project_can_ask_for_the_password_before_other_sessions_end(user: AbstractUser) -> None:
    thief, owner = Login(user), Login(user)
    found: dict[str, Any] = {}
    [snippet] = re.findall(r"^```python\n(.*?class KnowsPassword.*?)^```$", PAGE, re.M | re.S)
    exec(snippet, found)  # noqa: S102 (our own page)
    view: Callable[..., Any] = found["ConfirmedLogoutOthersView"].as_view()

    def post(body: Any, **header: Any) -> int:
        request = APIRequestFactory().post("/", body, format="json", **header)
        status: int = view(request).status_code
        return status

    header = bearer(thief.access)
    wrong: list[Any] = [{}, [], {"password": "guessed"}, {"password": None}]
    for body in wrong:
        assert post(body, **header) == 403
    assert post({"password": PASSWORD}) == 401
    assert alive(owner)
    assert post({"password": PASSWORD}, **bearer(owner.access)) == 200
    assert dead(thief)


@in_the_database
def test_a_service_without_the_sessions_refuses_tokens_that_live_longer_than_it_knows(
    user: AbstractUser, api: APIClient, settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ACCESS_TOKEN_LIFETIME": timedelta(hours=1)}
    access = Login(user).access
    TokenSession.objects.all().delete()  # they are in another database
    assert api.get("/api/me/", **bearer(access)).status_code == 200
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ACCESS_TOKEN_LIFETIME": timedelta(minutes=5)}
    assert api.get("/api/me/", **bearer(access)).status_code == 401


def named_tests() -> list[tuple[str, str]]:
    """Return the tests that the page names: a file, and a function in it."""
    found, file = [], ""
    for name in re.findall(r"`(?:tests/)?((?:test_\w+\.py: )?test_\w+)`", PAGE):
        file, _, function = name.rpartition(": ")[0] or file, "", name.rpartition(": ")[2]
        found.append((file, function))
    return found


@pytest.mark.any_database
def test_each_promise_names_tests_that_exist() -> None:
    promises = re.findall(r"^\| \d+ \|.*$", PAGE, re.M)
    assert len(promises) >= 15
    assert all("`test_" in promise for promise in promises)
    for file, function in named_tests():
        assert f"\ndef {function}(" in (BASE_DIR / "tests" / file).read_text(), (file, function)
