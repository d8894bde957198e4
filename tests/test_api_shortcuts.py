"""What our endpoints skip of Django REST framework's work is still done if a project needs it."""

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from rest_framework import status
from rest_framework.exceptions import Throttled
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.test import APIClient
from rest_framework.throttling import BaseThrottle
from rest_framework_simplejwt.settings import api_settings as simplejwt_settings

from tokens.api import serializers, views
from tokens.jwt import RefreshToken

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/token/refresh/"


class Plain(JSONRenderer):
    media_type = "text/plain"
    format = "txt"


class Versioned(JSONRenderer):
    media_type = "application/json; version=2"


class Posted(JSONParser):
    media_type = "application/x-posted"


def refreshed(user: AbstractUser, **request: Any) -> Any:
    body = {"refresh": str(RefreshToken.for_user(user))}
    return APIClient().post(request.pop("path", URL), body, format="json", **request)


ACCEPTED = {
    "nothing": {},
    "anything": {"HTTP_ACCEPT": "*/*"},
    "the second": {"HTTP_ACCEPT": "text/plain"},
    "one before the other": {"HTTP_ACCEPT": "text/plain, application/json;q=0.5"},
    "with a parameter": {"HTTP_ACCEPT": "application/json; indent=4"},
    "anything with a parameter": {"HTTP_ACCEPT": "*/*; version=2"},
    "nothing we have": {"HTTP_ACCEPT": "image/png"},
    "a format": {"path": f"{URL}?format=txt"},
    "a format nobody has": {"path": f"{URL}?format=gif"},
    "another parameter": {"path": f"{URL}?page=2"},
}


@pytest.mark.any_database
@pytest.mark.parametrize("request_", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.parametrize(
    "renderers", [[JSONRenderer, Plain], [Plain, JSONRenderer], [Versioned, Plain], [JSONRenderer]]
)
def test_the_renderer_is_the_one_that_drf_would_choose(
    renderers: list[Any],
    request_: dict[str, Any],
    user: AbstractUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views.TokenView, "renderer_classes", renderers)
    quickly = refreshed(user, **request_)
    monkeypatch.delattr(views.TokenView, "perform_content_negotiation")
    slowly = refreshed(user, **request_)
    assert (quickly.status_code, quickly["Content-Type"]) == (
        slowly.status_code,
        slowly["Content-Type"],
    )
    assert quickly.accepted_media_type == slowly.accepted_media_type


@pytest.mark.any_database
def test_a_renderer_that_comes_first_renders(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrapping(JSONRenderer):
        def render(self, data: Any, *arguments: Any) -> bytes:
            rendered: bytes = super().render({"wrapped": data}, *arguments)
            return rendered

    monkeypatch.setattr(views.TokenView, "renderer_classes", [Wrapping])
    assert set(refreshed(user).json()["wrapped"]) == {"access", "refresh"}


class TakeTheLast(BaseContentNegotiation):
    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[-1], renderers[-1].media_type


class TakeTheLastToo(DefaultContentNegotiation):
    select_renderer = TakeTheLast.select_renderer


@pytest.mark.any_database
@pytest.mark.parametrize("kind", [TakeTheLast, TakeTheLastToo])
@pytest.mark.parametrize("how", ["attribute", "method"])
def test_a_negotiation_of_the_projects_own_decides(
    how: str, kind: Any, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.TokenView, "renderer_classes", [JSONRenderer, Plain])
    if how == "attribute":
        monkeypatch.setattr(views.TokenView, "content_negotiation_class", kind)
    else:
        monkeypatch.setattr(views.TokenView, "get_content_negotiator", lambda self: kind())
    assert refreshed(user)["Content-Type"].startswith("text/plain")


@pytest.mark.any_database
def test_a_parser_of_the_projects_own_parses(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.TokenView, "parser_classes", [Posted])
    body = f'{{"refresh": "{RefreshToken.for_user(user)}"}}'
    answers = [
        APIClient().post(URL, body, content_type=kind).status_code
        for kind in ("application/json", "application/x-posted")
    ]
    assert answers == [status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, status.HTTP_200_OK]


@pytest.mark.any_database
def test_a_throttle_of_the_projects_own_counts(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(BaseThrottle):
        def allow_request(self, request: Any, view: Any) -> bool:
            return False

    monkeypatch.setattr(views.TokenView, "throttle_classes", [Closed])
    assert refreshed(user).status_code == Throttled.status_code


@pytest.mark.any_database
def test_an_exception_handler_of_the_projects_own_answers(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        api_settings, "EXCEPTION_HANDLER", lambda error, context: Response({"own": 1}, status=418)
    )
    answer = APIClient().post(URL, {"refresh": "x"}, format="json")
    assert (answer.status_code, answer.json()["own"]) == (418, 1)


class Telling(serializers.TokenRefreshSerializer):
    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        return super().validate(attrs) | {"told": "yes"}


class Forbidding(serializers.TokenRefreshSerializer):
    def may_log_in(self, user: Any) -> bool:
        return bool(user.username == "nobody" and user.last_login)


@pytest.mark.parametrize(("kind", "code"), [(Telling, 200), (Forbidding, 401)])
def test_a_serializer_of_the_projects_own_counts(
    kind: Any, code: int, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{__name__}.{kind.__name__}"
    monkeypatch.setattr(simplejwt_settings, "TOKEN_REFRESH_SERIALIZER", name)
    answer = refreshed(user)
    assert answer.status_code == code
    assert code != 200 or answer.json()["told"] == "yes"


def test_a_rule_of_the_projects_own_sees_the_whole_user(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def rule(user: Any) -> bool:
        seen.append((user.pk, user.get_deferred_fields(), user._state.db))
        return True

    monkeypatch.setattr(simplejwt_settings, "USER_AUTHENTICATION_RULE", rule)
    assert refreshed(user).status_code == 200
    assert seen == [(user.pk, set(), "default")]
