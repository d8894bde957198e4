"""Ending many logins: by their owner over HTTP, by what happens to the user, by the limit."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import blacklist, sessions
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, TokenSession

from .conftest import PASSWORD, Login, alive, bearer, better_hasher, dead

pytestmark = pytest.mark.django_db(transaction=True)

# For endpoints that end sessions.
in_both = pytest.mark.usefixtures("atomic_requests")

User: Any = get_user_model()


@in_both
def test_logging_out_everywhere_ends_every_login_of_this_user_only(
    user: AbstractUser, make_user: Any
) -> None:
    laptop, phone, grace = Login(user), Login(user), Login(make_user("grace"))
    answer = laptop.api.post("/api/logout/all/", **bearer(laptop.access))
    assert (answer.status_code, answer.json()) == (200, {"sessions_ended": 2})
    assert dead(laptop)
    assert dead(phone)
    assert alive(grace)
    assert alive(Login(user))


@in_both
def test_logging_out_elsewhere_keeps_this_login(user: AbstractUser) -> None:
    laptop, phone, tablet = Login(user), Login(user), Login(user)
    answer = laptop.api.post("/api/logout/others/", **bearer(laptop.access))
    assert (answer.status_code, answer.json()) == (200, {"sessions_ended": 2})
    assert alive(laptop)
    assert dead(phone)
    assert dead(tablet)
    assert set(BlacklistEntry.objects.filter(scope="session").values_list("reason", flat=True)) == {
        "logout_others"
    }


@in_both
@pytest.mark.parametrize("path", ["/api/logout/all/", "/api/logout/others/"])
def test_tokens_of_plain_simplejwt_are_logged_out_too(
    path: str, user: AbstractUser, api: APIClient
) -> None:
    login = Login(user)
    access, refresh = PlainAccessToken.for_user(user), PlainRefreshToken.for_user(user)
    assert api.post(path, **bearer(login.access)).status_code == 200
    assert api.get("/api/me/", **bearer(access)).status_code == 401
    assert api.post("/api/token/refresh/", {"refresh": str(refresh)}).status_code == 401


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_logging_out_everywhere_takes_a_constant_number_of_statements(
    count: int, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    template = {"user": user, "auth_hash": "", "expires_at": RefreshToken().claims.expires_at}
    TokenSession.objects.bulk_create(
        TokenSession(sid=new_sid(), refresh_jti=str(number), **template) for number in range(count)
    )
    with statements() as ran:
        assert sessions.end_all(user) == count
    assert len(ran) == 5, ran
    assert BlacklistEntry.objects.filter(scope="session", user=user).count() == count
    assert not TokenSession.objects.exists()


def test_an_entry_of_many_reads_like_an_entry_of_one(user: AbstractUser) -> None:
    claims = RefreshToken.for_user(user).claims
    sessions.end_all(user)
    entry = BlacklistEntry.objects.get(scope="session")
    assert (entry.subject, str(entry.key)) == (claims.sid, claims.sid)
    assert (entry.user, entry.issued_before) == (user, None)
    assert entry.expires_at == claims.expires_at
    assert entry.reason == "logout_all"


def test_an_entry_that_is_there_already_is_only_extended(user: AbstractUser) -> None:
    claims = RefreshToken.for_user(user).claims
    blacklist.revoke_session(claims.sid or "", expires_at=claims.issued_at)
    assert sessions.end_all(user) == 1
    entry = BlacklistEntry.objects.get(scope="session")
    assert (entry.expires_at, entry.reason) == (claims.expires_at, "revoked")


def test_logging_out_everywhere_again_refuses_what_was_issued_since(user: AbstractUser) -> None:
    sessions.end_all(user)
    first = BlacklistEntry.objects.get()
    sessions.end_all(user)
    entry = BlacklistEntry.objects.get()
    assert entry.issued_before is not None
    assert first.issued_before is not None
    assert entry.issued_before > first.issued_before


@in_both
def test_the_list_shows_ones_own_live_sessions_and_marks_the_current(
    user: AbstractUser, make_user: Any, statements: Callable[[], Any]
) -> None:
    phone, laptop = Login(user), Login(user)
    Login(make_user("grace"))
    old = RefreshToken.for_user(user).claims
    TokenSession.objects.filter(sid=old.sid).update(expires_at="2020-01-01T00:00:00Z")
    with statements() as ran:
        answer = laptop.api.get("/api/sessions/", **bearer(laptop.access))
    assert (answer.status_code, len(ran)) == (200, 3)
    body = answer.json()
    assert (body["count"], [row["current"] for row in body["results"]]) == (2, [True, False])
    assert set(body["results"][0]) == {
        "sid",
        "created_at",
        "last_used_at",
        "expires_at",
        "ip_address",
        "user_agent",
        "device",
        "device_name",
        "current",
    }
    assert body["results"][1]["sid"] == AccessToken(phone.access)["sid"]
    assert body["results"][0]["ip_address"] == "127.0.0.1"


@pytest.mark.any_database
def test_the_list_has_pages_and_hides_metadata_that_is_off(
    user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_SESSION_METADATA = False
    logins = [Login(user) for _ in range(3)]
    first = logins[0].api.get("/api/sessions/?page_size=2", **bearer(logins[0].access)).json()
    assert (len(first["results"]), first["count"]) == (2, 3)
    assert "ip_address" not in first["results"][0]
    assert "user_agent" not in first["results"][0]
    second = logins[0].api.get(first["next"], **bearer(logins[0].access)).json()
    assert len(second["results"]) == 1
    missing = logins[0].api.get("/api/sessions/?page=9", **bearer(logins[0].access))
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


@in_both
def test_one_session_is_ended_by_its_id(user: AbstractUser, make_user: Any) -> None:
    laptop, phone, grace = Login(user), Login(user), Login(make_user("grace"))

    def delete(sid: object) -> int:
        path = f"/api/sessions/{sid}/"
        status: int = laptop.api.delete(path, **bearer(laptop.access)).status_code
        return status

    assert delete(AccessToken(phone.access)["sid"]) == 204
    assert dead(phone)
    for nobodys in (AccessToken(grace.access)["sid"], new_sid(), "x", "%00", "é" * 300, 7):
        assert delete(nobodys) == 404
    assert alive(grace)
    assert delete(AccessToken(laptop.access)["sid"]) == 204
    assert dead(laptop)


@pytest.mark.any_database
@in_both
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/api/logout/all/"),
        ("post", "/api/logout/others/"),
        ("get", "/api/sessions/"),
        ("delete", "/api/sessions/x/"),
    ],
)
def test_who_is_not_logged_in_gets_401(
    method: str, path: str, user: AbstractUser, api: APIClient
) -> None:
    login = Login(user)
    login.logout()
    for headers in ({}, bearer("x"), bearer(login.access), bearer(login.refresh_token)):
        answer = getattr(api, method)(path, **headers)
        assert answer.status_code == 401
        assert {"detail", "code"} <= set(answer.json())
        assert answer["WWW-Authenticate"].startswith("Bearer")


def change_password(user: AbstractUser) -> None:
    user.set_password("a new one")
    user.save()


def change_password_in_the_admin(user: AbstractUser) -> None:
    from django.contrib.auth.forms import AdminPasswordChangeForm

    form = AdminPasswordChangeForm(user, {"password1": "f8s7dfs8", "password2": "f8s7dfs8"})
    assert form.is_valid(), form.errors
    form.save()


def reset_password(user: AbstractUser) -> None:
    from django.contrib.auth.forms import SetPasswordForm

    form = SetPasswordForm(user, {"new_password1": "f8s7dfs8", "new_password2": "f8s7dfs8"})
    assert form.is_valid(), form.errors
    form.save()


def change_password_by_command(user: AbstractUser) -> None:
    from unittest.mock import patch

    with patch("getpass.getpass", return_value="f8s7dfs8"):
        call_command("changepassword", "ada", stdout=StringIO())


def deactivate(user: AbstractUser) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


def delete(user: AbstractUser) -> None:
    user.delete()


def delete_in_bulk(user: AbstractUser) -> None:
    User.objects.filter(pk=user.pk).delete()


CHANGES = [
    (change_password, "password_change"),
    (change_password_in_the_admin, "password_change"),
    (reset_password, "password_change"),
    (change_password_by_command, "password_change"),
    (deactivate, "deactivation"),
    (delete, "deletion"),
    (delete_in_bulk, "deletion"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_what_happens_to_a_user_ends_the_sessions_at_once(
    change: Callable[[AbstractUser], None], reason: str, user: AbstractUser, make_user: Any
) -> None:
    login, other = Login(user), Login(make_user("grace"))
    plain = PlainAccessToken.for_user(user)
    change(User.objects.get(pk=user.pk))
    assert set(BlacklistEntry.objects.values_list("reason", flat=True)) == {reason}
    # Without asking who the user is, as stateless authentication does.
    assert blacklist.is_revoked(AccessToken(login.access, verify=False).claims)
    assert blacklist.is_revoked(AccessToken(str(plain), verify=False).claims)
    assert dead(login)
    assert alive(other)


@pytest.mark.any_database
@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_events_that_are_switched_off_write_nothing(
    change: Callable[[AbstractUser], None], reason: str, user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_REVOKE_ON = {"password_change", "deactivation", "deletion"} - {reason}
    Login(user)
    change(user)
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
def test_saving_a_user_otherwise_ends_nothing(user: AbstractUser) -> None:
    login = Login(user)
    user.first_name = "Augusta"
    user.save()
    user.set_password("never saved")
    user.save(update_fields=["last_name"])
    assert alive(login)


def test_a_better_hash_of_the_same_password_ends_nothing(user: AbstractUser, settings: Any) -> None:
    laptop = Login(user)
    before = User.objects.get().password
    with better_hasher(settings):
        phone = Login(user)
        assert User.objects.get().password != before
        assert alive(laptop)
        assert alive(phone)
    assert not BlacklistEntry.objects.exists()


@in_both
def test_the_oldest_session_makes_room_when_there_are_too_many(
    user: AbstractUser, settings: Any, make_user: Any
) -> None:
    other = Login(make_user("grace"))
    settings.TOKENS_MAX_SESSIONS_PER_USER = 2
    first, second, third = Login(user), Login(user), Login(user)
    assert dead(first)
    assert alive(second)
    assert alive(third)
    assert alive(other)
    assert BlacklistEntry.objects.get().reason == "limit"


def test_a_login_that_has_expired_does_not_count(user: AbstractUser, settings: Any) -> None:
    first, expired = Login(user), RefreshToken.for_user(user).claims
    TokenSession.objects.filter(sid=expired.sid).update(expires_at="2020-01-01T00:00:00Z")
    settings.TOKENS_MAX_SESSIONS_PER_USER = 2
    Login(user)
    assert alive(first)


def test_logging_out_everywhere_reaches_tokens_that_name_an_issuer(user: AbstractUser) -> None:
    token = AccessToken.for_user(user)
    token["iss"] = "an issuer that is not configured"
    sessions.end_all(user)
    assert blacklist.is_revoked(token.claims)


@in_both
def test_logging_in_within_the_limit_takes_one_statement_more(
    user: AbstractUser, settings: Any, statements: Callable[[], Any]
) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = 2
    with statements() as ran:
        Login(user)
    assert len(ran) == 3


@pytest.mark.any_database
def test_the_address_comes_from_a_header_only_behind_known_proxies(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokens.api import client

    for proxies, forwarded, expected in [
        (0, "203.0.113.9", "127.0.0.1"),
        (None, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        (2, "6.6.6.6, 203.0.113.9, 198.51.100.1", "203.0.113.9"),
        (3, "2001:DB8::1", "2001:db8::1"),
        (1, "nonsense", None),
        (1, "", "127.0.0.1"),
    ]:
        monkeypatch.setattr(client.api_settings, "NUM_PROXIES", proxies)
        credentials = {"username": "ada", "password": PASSWORD}
        api.post("/api/token/", credentials, HTTP_X_FORWARDED_FOR=forwarded)
        assert TokenSession.objects.latest("sid").ip_address == expected
