import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection
from rest_framework.test import APIClient
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import clock
from tokens.api.serializers import TokenObtainPairSerializer
from tokens.api.views import api_settings  # the module's own: simplejwt replaces it at each change
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import PASSWORD, Login, bearer
from .forge import JTI, USER_ID, sign, signed
from .threads import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("atomic_requests"),
]

ENDPOINTS = {
    "/api/token/refresh/": "refresh",
    "/api/token/verify/": "token",
    "/api/token/blacklist/": "refresh",
    "/api/logout/": "refresh",
}


@pytest.fixture
def ada(user: AbstractUser) -> Login:
    return Login(user)


def rows() -> int:
    return BlacklistEntry.objects.count() + TokenSession.objects.count()


def test_logging_in_takes_two_statements(user: AbstractUser, statements: Callable[[], Any]) -> None:
    with statements() as ran:
        Login(user)
    assert len(ran) == 2, ran


def test_logging_in_remembers_where_from(user: AbstractUser, api: APIClient) -> None:
    answer = api.post(
        "/api/token/",
        {"username": "ada", "password": PASSWORD},
        HTTP_USER_AGENT="curl/8\x07",
        HTTP_X_FORWARDED_FOR="203.0.113.9",
    )
    assert answer.status_code == 200
    session = TokenSession.objects.get()
    assert (session.ip_address, session.user_agent) == ("127.0.0.1", "curl/8")


def test_a_wrong_password_is_401_and_starts_no_session(user: AbstractUser, api: APIClient) -> None:
    answer = api.post("/api/token/", {"username": "ada", "password": "wrong"})
    assert (answer.status_code, answer.json()["code"]) == (401, "no_active_account")
    assert rows() == 0


def test_an_authenticated_request_takes_one_statement(
    ada: Login, statements: Callable[[], Any]
) -> None:
    with statements() as ran:
        answer = ada.me()
    assert (answer.status_code, len(ran)) == (200, 1), ran


def test_a_refused_request_takes_one_more_to_say_why(
    ada: Login, statements: Callable[[], Any]
) -> None:
    ada.logout()
    with statements() as ran:
        answer = ada.me()
    assert (answer.status_code, len(ran)) == (401, 2), ran


def test_logout_ends_this_login_at_once_and_no_other(ada: Login, user: AbstractUser) -> None:
    other = Login(user)
    assert ada.logout().status_code == 204
    assert ada.me().json() == {
        "detail": "Token is blacklisted",
        "code": "token_not_valid",
        "reason": "revoked",
    }
    assert ada.refresh().status_code == 401
    assert ada.api.post("/api/token/verify/", {"token": ada.access}).status_code == 401
    assert other.me().status_code == 200
    assert other.refresh().status_code == 200


def test_logout_takes_three_statements(ada: Login, statements: Callable[[], Any]) -> None:
    for _ in range(2):
        with statements() as ran:
            answer = ada.logout()
        assert (answer.status_code, len(ran)) == (204, 3), ran
    assert BlacklistEntry.objects.count() == 1


@pytest.mark.any_database
def test_logout_by_the_authorization_header_ends_the_same_login(ada: Login) -> None:
    assert ada.api.post("/api/logout/", **bearer(ada.access)).status_code == 204
    assert ada.me().status_code == 401
    assert ada.refresh().status_code == 401


def test_logout_works_with_expired_tokens_and_ends_the_session(ada: Login) -> None:
    payload = RefreshToken(ada.refresh_token).payload | {"exp": clock.to_epoch(clock.now()) - 9999}
    assert ada.api.post("/api/logout/", {"refresh": sign(payload)}).status_code == 204
    assert ada.me().status_code == 401
    assert ada.refresh().status_code == 401


def test_logout_by_a_token_that_has_been_rotated_away_ends_the_session(ada: Login) -> None:
    newest = ada.refresh().json()
    assert ada.logout().status_code == 204
    assert ada.me(newest["access"]).status_code == 401
    assert ada.refresh(newest["refresh"]).status_code == 401


@pytest.mark.any_database
def test_logout_without_any_token_is_400(api: APIClient) -> None:
    answer = api.post("/api/logout/")
    assert (answer.status_code, answer.json()["code"]) == (400, "token_required")


@pytest.mark.any_database
def test_logout_with_a_token_of_the_wrong_type_is_401(ada: Login) -> None:
    assert ada.api.post("/api/logout/", {"refresh": ada.access}).status_code == 401
    assert ada.api.post("/api/logout/", **bearer(ada.refresh_token)).status_code == 401
    assert ada.me().status_code == 200


def test_logout_accepts_tokens_of_plain_simplejwt(user: AbstractUser, api: APIClient) -> None:
    refresh = PlainRefreshToken.for_user(user)
    access = PlainAccessToken.for_user(user)
    assert api.post("/api/logout/", {"refresh": str(refresh)}).status_code == 204
    assert api.post("/api/token/refresh/", {"refresh": str(refresh)}).status_code == 401
    assert api.get("/api/me/", **bearer(access)).status_code == 200
    assert api.post("/api/logout/", **bearer(access)).status_code == 204
    assert api.get("/api/me/", **bearer(access)).status_code == 401
    assert {entry.scope for entry in BlacklistEntry.objects.all()} == {"token"}


def test_the_blacklist_endpoint_answers_alike_however_often(ada: Login) -> None:
    for _ in range(2):
        answer = ada.api.post("/api/token/blacklist/", {"refresh": ada.refresh_token})
        assert (answer.status_code, answer.json()) == (200, {})
    assert ada.me().status_code == 401


def test_parallel_logouts_all_succeed_with_one_row(ada: Login) -> None:
    assert {answer.status_code for answer in at_once(8, ada.logout)} == {204}
    assert BlacklistEntry.objects.count() == 1


def test_a_refresh_takes_two_statements_and_leaves_no_row(
    ada: Login, statements: Callable[[], Any]
) -> None:
    with statements() as ran:
        answer = ada.refresh()
    assert (answer.status_code, len(ran)) == (200, 2), ran
    assert (TokenSession.objects.count(), BlacklistEntry.objects.count()) == (1, 0)
    assert ada.me(answer.json()["access"]).status_code == 200


def test_two_tabs_that_refresh_get_the_same_successor(ada: Login) -> None:
    answers = [ada.refresh().json()["refresh"] for _ in range(3)]
    payloads = [RefreshToken(raw).payload for raw in answers]
    assert payloads[0] == payloads[1] == payloads[2]


def test_reuse_after_the_grace_period_ends_the_session_for_good(ada: Login, settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    newest = ada.refresh().json()
    assert ada.refresh().status_code == 401
    assert BlacklistEntry.objects.get().reason == "reuse"
    assert ada.refresh(newest["refresh"]).status_code == 401
    assert ada.me(newest["access"]).status_code == 401


def test_without_rotation_a_refresh_token_works_until_its_session_ends(
    ada: Login, settings: Any, statements: Callable[[], Any]
) -> None:
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ROTATE_REFRESH_TOKENS": False}
    for _ in range(2):
        with statements() as ran:
            answer = ada.refresh()
        assert set(answer.json()) == {"access"}
        assert len(ran) == 2
    ada.logout()
    assert ada.refresh().status_code == 401


def test_refreshing_a_token_of_plain_simplejwt_adopts_it_once(
    user: AbstractUser, api: APIClient, statements: Callable[[], Any]
) -> None:
    raw = str(PlainRefreshToken.for_user(user))
    with statements() as ran:
        answer = api.post("/api/token/refresh/", {"refresh": raw})
    assert (answer.status_code, len(ran)) == (200, 4), ran
    again = api.post("/api/token/refresh/", {"refresh": raw})
    first = RefreshToken(answer.json()["refresh"])
    assert RefreshToken(again.json()["refresh"]).payload == first.payload
    assert TokenSession.objects.count() == 1
    assert api.post("/api/token/refresh/", {"refresh": str(first)}).status_code == 200


def test_reuse_of_a_token_of_plain_simplejwt_ends_the_session_that_continues_it(
    user: AbstractUser, api: APIClient, settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    raw = str(PlainRefreshToken.for_user(user))
    newest = api.post("/api/token/refresh/", {"refresh": raw}).json()
    assert api.post("/api/token/refresh/", {"refresh": raw}).status_code == 401
    assert api.get("/api/me/", **bearer(newest["access"])).status_code == 401
    assert not TokenSession.objects.exists()


def test_logging_out_by_a_token_of_plain_simplejwt_ends_the_session_that_continues_it(
    user: AbstractUser, api: APIClient
) -> None:
    raw = str(PlainRefreshToken.for_user(user))
    newest = api.post("/api/token/refresh/", {"refresh": raw}).json()
    assert api.post("/api/logout/", {"refresh": raw}).status_code == 204
    assert api.get("/api/me/", **bearer(newest["access"])).status_code == 401
    assert api.post("/api/token/refresh/", {"refresh": newest["refresh"]}).status_code == 401


def test_a_deleted_or_inactive_user_gets_401_everywhere(ada: Login, user: AbstractUser) -> None:
    type(user).objects.update(is_active=False)  # sends no signal
    assert ada.me().json()["code"] == "user_inactive"
    answer = ada.refresh()
    assert (answer.status_code, answer.json()["code"]) == (401, "no_active_account")
    type(user).objects.update(is_active=True)
    user.is_active = False
    user.save()
    assert ada.me().json()["code"] == "token_not_valid"
    user.delete()
    assert ada.me().json()["code"] == "user_not_found"
    assert ada.refresh().status_code == 401
    plain = signed(token_type="refresh", user_id="424242")
    answer = ada.api.post("/api/token/refresh/", {"refresh": plain})
    assert (answer.status_code, answer.json()["code"]) == (401, "user_not_found")


def test_verifying_covers_every_type_and_writes_nothing(ada: Login) -> None:
    before = rows()
    for raw in (ada.access, ada.refresh_token):
        answer = ada.api.post("/api/token/verify/", {"token": raw})
        assert (answer.status_code, answer.json()) == (200, {})
    ada.refresh()
    assert ada.api.post("/api/token/verify/", {"token": ada.refresh_token}).status_code == 200
    assert rows() == before
    ada.logout()
    for raw in (ada.access, ada.refresh_token):
        assert ada.api.post("/api/token/verify/", {"token": raw}).status_code == 401


BODIES = {
    "no JSON": "{",
    "not UTF-8": b"\xff\xfe",
    "a list": "[]",
    "a list of tokens": '["x"]',
    "a number": "5",
    "null": "null",
    "a string": '"x"',
    "deep": "[" * 100_000,
    "empty": "",
    "NUL bytes": b"\x00" * 100,
}
VALUES: dict[str, Any] = {
    "null": None,
    "a number": 5,
    "a huge number": 10**400,
    "a bool": True,
    "a list": ["x"],
    "an object": {"a": 1},
    "empty": "",
    "NUL": "a\x00b",
    "a surrogate": "\ud800",
    "100 KB": "x" * 100_000,
    "100 KB with dots": "x." * 50_000,
    "emoji": "😀.😀.😀",
}


def forgeries(user: AbstractUser) -> Iterator[tuple[str, str]]:
    claims = RefreshToken.for_user(user).payload
    TokenSession.objects.all().delete()
    yield "another key", sign(claims, key="somebody else's key" * 3)
    yield "alg none", sign(claims, algorithm="none")
    yield "another algorithm", sign(claims, algorithm="HS512")
    yield "an object too little", sign([])
    yield "a string", sign("x")
    for name, value in {
        JTI: [None, 5, [], "", {}],
        "exp": [None, "x", [], 1e300, 10**30, True],
        USER_ID: [[], {}, 1.5, "\x00", "9" * 5000, "\ud800"],
        "iat": ["x", None, [], -1e300],
        "token_type": [5, None, []],
        "iss": [5, {}],
    }.items():
        for number, odd in enumerate(value):
            yield f"{name} {number}", sign(claims | {name: odd})


@pytest.mark.any_database
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("path", ["/api/token/", *ENDPOINTS])
def test_a_body_that_is_no_object_is_4xx(path: str, body: Any, api: APIClient) -> None:
    answer = api.generic("POST", path, body, content_type="application/json")
    assert 400 <= answer.status_code < 500
    assert {"detail", "code"} <= set(answer.json())
    assert rows() == 0


@pytest.mark.any_database
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize(("path", "field"), ENDPOINTS.items())
def test_a_value_that_is_no_token_is_4xx(path: str, field: str, value: Any, api: APIClient) -> None:
    answer = api.generic("POST", path, json.dumps({field: value}), content_type="application/json")
    assert 400 <= answer.status_code < 500
    assert {"detail", "code"} <= set(answer.json())
    assert rows() == 0


@pytest.mark.any_database
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_browser_gets_no_500_either(value: Any, api: APIClient) -> None:
    for path, field in ENDPOINTS.items():
        body = json.dumps({field: value})
        answer = api.generic(
            "POST", path, body, content_type="application/json", HTTP_ACCEPT="text/html"
        )
        assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_odd_credentials_are_4xx(value: Any, api: APIClient) -> None:
    for body in (
        {"username": value, "password": "x"},
        {"username": "x", "password": value},
    ):
        answer = api.generic(
            "POST", "/api/token/", json.dumps(body), content_type="application/json"
        )
        assert 400 <= answer.status_code < 500
    assert rows() == 0


def test_forged_and_odd_tokens_are_401_and_write_nothing(
    user: AbstractUser, api: APIClient
) -> None:
    for name, raw in forgeries(user):
        for path, field in ENDPOINTS.items():
            answer = api.post(path, {field: raw}, format="json")
            assert answer.status_code == 401, (name, path, answer.content)
            assert {"detail", "code"} <= set(answer.json())
        header = api.get("/api/me/", **bearer(raw))
        assert header.status_code == 401, (name, header.content)
    assert rows() == 0


@pytest.mark.any_database
@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer a b", "Bearer \x00", "Bearer é", "Bearer " + "x" * 1_000_000]
)
def test_odd_headers_are_401(header: str, api: APIClient) -> None:
    assert api.get("/api/me/", HTTP_AUTHORIZATION=header).status_code == 401
    assert 400 <= api.post("/api/logout/", HTTP_AUTHORIZATION=header).status_code < 500


@pytest.mark.any_database
@pytest.mark.parametrize("path", ["/api/token/", *ENDPOINTS])
def test_other_methods_are_405_and_nothing_is_cached(path: str, api: APIClient) -> None:
    for call in (api.get, api.put, api.delete, api.patch):
        answer = call(path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "no-store" in answer["Cache-Control"]


@pytest.mark.any_database
def test_errors_name_the_field_and_have_the_usual_shape(api: APIClient) -> None:
    assert api.post("/api/token/refresh/").json() == {
        "refresh": ["This field is required."],
        "detail": "This field is required.",
        "code": "required",
    }


@pytest.mark.any_database
def test_every_endpoint_but_logging_out_is_throttled_by_the_scope_tokens(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.core.cache import cache
    from rest_framework.throttling import ScopedRateThrottle

    monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", {"tokens": "1/hour"})
    for path in ["/api/token/", *ENDPOINTS]:
        cache.clear()
        assert api.post(path).status_code == 400
        answer = api.post(path)
        if path in ("/api/token/blacklist/", "/api/logout/"):
            assert answer.status_code == 400
            continue
        assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
        assert answer["Retry-After"]
    cache.clear()


class RememberMe(TokenObtainPairSerializer):
    """A project's own serializer."""

    @classmethod
    def get_token(cls, user: Any) -> Any:
        token: Any = super().get_token(user)
        token.set_exp(lifetime=timedelta(days=30))
        return token


@pytest.mark.any_database
def test_a_serializer_of_the_project_is_used_if_it_is_based_on_ours(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for own, days in (("tests.test_api.RememberMe", 30), ("tests.test_api.Login", 1)):
        monkeypatch.setattr(api_settings, "TOKEN_OBTAIN_SERIALIZER", own)
        tokens = api.post("/api/token/", {"username": "ada", "password": PASSWORD}).json()
        claims = RefreshToken(tokens["refresh"]).claims
        assert claims.expires_at - claims.issued_at == timedelta(days=days)
        session = TokenSession.objects.latest("sid")
        assert session.expires_at == claims.expires_at


def test_an_access_token_that_outlives_its_session_is_refused_when_the_entry_is_gone(
    ada: Login, statements: Callable[[], Any]
) -> None:
    access = RefreshToken(ada.refresh_token).access_token
    access.set_exp(lifetime=timedelta(days=9))
    assert ada.me(str(access)).status_code == 200
    ada.logout()
    BlacklistEntry.objects.all().delete()
    with statements() as ran:
        assert ada.me(str(access)).status_code == 401
    assert len(ran) == 2
    with pytest.raises(TokenError):
        AccessToken(str(access))
    assert ada.api.post("/api/token/verify/", {"token": str(access)}).status_code == 401


@pytest.mark.any_database
def test_a_user_without_a_token_has_no_current_session(user: AbstractUser, api: APIClient) -> None:
    api.force_authenticate(user)
    Login(user)
    assert [row["current"] for row in api.get("/api/sessions/").json()["results"]] == [False]
    assert api.post("/api/logout/others/").json() == {"sessions_ended": 1}


@pytest.fixture
def broken_table() -> Iterator[None]:
    """Take the blacklist away, as a migration gone wrong would."""
    table = BlacklistEntry._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


@pytest.mark.usefixtures("broken_table")
def test_if_the_blacklist_can_not_be_read_the_answer_is_503(
    user: AbstractUser, caplog: pytest.LogCaptureFixture
) -> None:
    ada = Login(user)
    for answer in (
        ada.me(),
        ada.refresh(),
        ada.logout(),
        ada.api.post("/api/logout/", **bearer(ada.access)),
        ada.api.post("/api/token/verify/", {"token": ada.access}),
        ada.api.post("/api/token/blacklist/", {"refresh": ada.refresh_token}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert answer["Retry-After"] == "1"
    assert "does not answer" in caplog.text
    for raw in (ada.access, ada.refresh_token):
        assert raw not in caplog.text


def test_if_the_database_is_gone_the_answer_is_503_and_then_it_recovers(
    ada: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.settings_dict["ATOMIC_REQUESTS"]:
        pytest.skip("a view in a request transaction fails in Django, before it is asked")
    with monkeypatch.context() as patch:
        connection.close()
        patch.setitem(connection.settings_dict, "NAME", "/nowhere/at/all")
        patch.setitem(connection.settings_dict, "PORT", "1")
        for answer in (ada.me(), ada.logout(), ada.refresh()):
            assert answer.status_code == 503
        connection.close()
    assert ada.me().status_code == 200
    assert ada.logout().status_code == 204
    assert ada.me().status_code == 401
