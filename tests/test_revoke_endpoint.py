"""Whoever holds a token may revoke it (RFC 7009)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings

from tokens import clock
from tokens.jwt import AccessToken, AnyToken, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import Login, alive, dead
from .forge import sign, signed
from .services import form

pytestmark = pytest.mark.django_db(transaction=True)


def revoke(token: object, **more: str) -> Any:
    return APIClient().post("/api/revoke/", {"token": str(token)} | more)


@pytest.mark.parametrize("which", ["access", "refresh_token"])
def test_either_token_ends_its_session_and_no_other(
    which: str, log_in: Callable[..., Login], user: AbstractUser
) -> None:
    login, other = log_in(user), log_in(user)
    answer = revoke(getattr(login, which))
    assert (answer.status_code, answer.content) == (200, b"")
    assert dead(login)
    assert alive(other)
    assert BlacklistEntry.objects.get().reason == "logout"


@pytest.mark.any_database
def test_a_form_needs_no_authentication_and_no_csrf_token(
    log_in: Callable[..., Login], user: AbstractUser
) -> None:
    login = log_in(user)
    hint = "&token_type_hint=refresh_token"
    assert form("revoke", f"token={login.refresh_token}{hint}").status_code == 200
    assert dead(login)


@pytest.mark.any_database
def test_a_hint_is_only_a_hint(log_in: Callable[..., Login], user: AbstractUser) -> None:
    for hint in ("", "access_token", "pizza"):
        login = log_in(user)
        assert revoke(login.refresh_token, token_type_hint=hint).status_code == 200
        assert dead(login)


def test_revoking_twice_gives_the_same_answer(
    log_in: Callable[..., Login], user: AbstractUser
) -> None:
    login = log_in(user)
    for _ in range(3):
        assert revoke(login.access).status_code == 200
    assert BlacklistEntry.objects.count() == 1


def test_an_expired_token_ends_its_session(user: AbstractUser) -> None:
    access = RefreshToken.for_user(user).access_token
    access.set_exp(from_time=clock.now() - timedelta(hours=1))
    assert revoke(access).status_code == 200
    assert not TokenSession.objects.exists()


UNKNOWN: dict[str, Callable[[AbstractUser], str]] = {
    "garbage": lambda _user: "garbage",
    "a zero byte": lambda _user: "a\0b",
    "too long": lambda user: f"{AccessToken.for_user(user)}{'=' * 8192}",
    "forged": lambda user: f"{RefreshToken.for_user(user)}x",
    "another key": lambda _user: sign({"token_type": "access", "jti": "a"}, key="k" * 64),
    "without an id": lambda user: signed(user_id=str(user.pk), jti=...),
}


@pytest.mark.any_database
@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_a_token_that_is_unknown_needs_no_revocation(
    make: Callable[[AbstractUser], str], user: AbstractUser
) -> None:
    token = make(user)
    sessions = TokenSession.objects.count()
    answer = revoke(token)
    assert (answer.status_code, answer.content) == (200, b"")
    assert not BlacklistEntry.objects.exists()
    assert TokenSession.objects.count() == sessions


@pytest.mark.any_database
def test_a_sliding_token_is_revoked_if_requests_accept_it(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", [SlidingToken])
    token = SlidingToken.for_user(user)
    assert revoke(token).status_code == 200
    assert APIClient().post("/api/token/verify/", {"token": str(token)}).status_code == 401


@pytest.mark.any_database
def test_a_type_that_the_project_does_not_know_is_unsupported(user: AbstractUser) -> None:
    answer = revoke(signed(user_id=str(user.pk), token_type="door"))
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "unsupported_token_type",
        "detail": "Tokens of this type can't be revoked.",
        "code": "unsupported_token_type",
    }
    assert not BlacklistEntry.objects.exists()


@pytest.mark.any_database
def test_a_project_that_accepts_any_type_revokes_any(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", [AnyToken])
    assert revoke(signed(user_id=str(user.pk), token_type="door")).status_code == 200
    assert BlacklistEntry.objects.count() == 1


@pytest.mark.any_database
def test_tokens_without_types_are_revoked(user: AbstractUser, settings: Any) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"TOKEN_TYPE_CLAIM": None}
    assert revoke(signed(user_id=str(user.pk), token_type=...)).status_code == 200
    assert BlacklistEntry.objects.count() == 1


@pytest.mark.any_database
def test_a_database_that_fails_gives_503_and_says_when_to_try_again(
    log_in: Callable[..., Login], user: AbstractUser
) -> None:
    login = log_in(user)
    with patch("tokens.recording.write", side_effect=DatabaseError):
        answer = revoke(login.access)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["code"] == "service_unavailable"
    assert alive(login)


def test_revoking_takes_as_many_statements_as_logging_out(
    log_in: Callable[..., Login], user: AbstractUser, statements: Callable[[], Any]
) -> None:
    login = log_in(user)
    with statements() as ran:
        assert revoke(login.refresh_token).status_code == 200
    assert len(ran) == 3


def test_the_answer_means_committed(
    atomic_requests: None, log_in: Callable[..., Login], user: AbstractUser
) -> None:
    login = log_in(user)
    with (
        patch("tokens.api.revocation.RevokeView.finalize_response", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        revoke(login.access)
    assert dead(login)


@pytest.mark.any_database
def test_only_post_is_answered() -> None:
    assert APIClient().get("/api/revoke/").status_code == 405
