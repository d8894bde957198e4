"""What the pages about browsers tell people to copy. ``tests/browser`` runs the client itself."""

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.urls import path
from rest_framework.test import APIClient, APIRequestFactory

from tokens.conf import conf
from tokens.models import TokenSession

from .conftest import PASSWORD
from .snippets import HOWTO, snippet
from .test_checks import ids

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


def run(beginning: str, page: str = "browser", **given: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "copied", **given}
    exec(snippet(page, language="python", beginning=beginning, folder=HOWTO), names)  # noqa: S102
    return names


def test_the_setting_is_all_there_is_to_switch_on(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_COOKIES = run("TOKENS_COOKIES")["TOKENS_COOKIES"]
    assert tuple(conf.TOKENS_COOKIES) == ("refresh", "access")
    assert ids() == []
    testing = snippet("testing", language="python", beginning="browser =", folder=HOWTO)
    exec(testing.replace('"secret"', repr(PASSWORD)), {"APIClient": APIClient})  # noqa: S102
    assert TokenSession.objects.count() == 1


def test_the_settings_for_another_origin_pass_the_checks(settings: Any) -> None:
    settings.TOKENS_COOKIES = ("refresh", "access")
    for name, value in run("CORS_ALLOWED_ORIGINS").items():
        if name.isupper():
            setattr(settings, name, value)
    assert settings.CORS_ALLOW_CREDENTIALS
    assert ids() == []


def test_an_app_in_a_web_view_keeps_its_tokens_itself(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_COOKIES = ("refresh", "access")
    view = run("from tokens.api.views import TokenObtainPairView")["LoginView"].as_view()
    body = {"username": "ada", "password": PASSWORD}
    for origin, expected in (("capacitor://localhost", {"refresh", "access"}), ("null", set())):
        request = APIRequestFactory(HTTP_ORIGIN=origin).post("/api/token/", body)
        answer = view(request)
        assert set(answer.data) == expected
        assert bool(answer.cookies) is not bool(expected)


def test_apps_that_are_out_log_in_as_before(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_COOKIES = ("refresh", "access")
    view = run("from tokens.api import views")["LoginOfOldAppsView"].as_view()
    body = {"username": "ada", "password": PASSWORD}
    answer = view(APIRequestFactory().post("/api/token/", body))
    assert set(answer.data) == {"refresh", "access"}
    answer = view(APIRequestFactory(HTTP_ORIGIN="http://testserver").post("/api/token/", body))
    assert answer.data == {}


urlpatterns: list[Any] = []


@pytest.mark.urls("tests.test_browser_howto")
def test_a_login_by_code_sets_cookies(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_COOKIES = ("refresh", "access")
    beginning = "from rest_framework.response import Response"
    view = run(beginning, user_of_code=lambda code: user)["LoginByCodeView"]
    urlpatterns[:] = [path("code/", view.as_view())]
    answer = APIClient(HTTP_ORIGIN="http://testserver").post("/code/", {"code": "1"})
    assert (answer.status_code, answer.json()) == (200, {})
    assert {"__Secure-tokens_refresh", "__Host-tokens_access"} <= set(answer.cookies)
