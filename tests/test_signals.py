from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import transaction

from tokens import sessions
from tokens.jwt import RefreshToken

from .conftest import Login

pytestmark = pytest.mark.django_db(transaction=True)


def names(heard: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in heard]


def test_each_step_of_a_session_is_told_once_without_secrets(
    user: AbstractUser, heard: Any, settings: Any
) -> None:
    login = Login(user)
    sid = RefreshToken(login.refresh_token)["sid"]
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    newest = login.refresh().json()
    login.refresh()
    assert names(heard) == [
        "session_started",
        "session_refreshed",
        "session_ended",
        "refresh_reuse_detected",
    ]
    assert {arguments["sid"] for _, arguments in heard} == {sid}
    assert {arguments["user_id"] for _, arguments in heard} == {user.pk}
    assert heard[2][1]["reason"] == "reuse"
    assert newest["refresh"] not in str(heard)
    login.logout()
    assert len(heard) == 4


def test_ending_many_tells_of_each(user: AbstractUser, heard: Any) -> None:
    Login(user)
    Login(user)
    heard.clear()
    sessions.end_all(user)
    assert names(heard) == ["session_ended", "session_ended"]
    assert {arguments["reason"] for _, arguments in heard} == {"logout_all"}


def test_signals_wait_for_the_commit_and_a_rollback_cancels_them(
    user: AbstractUser, heard: Any
) -> None:
    with transaction.atomic():
        RefreshToken.for_user(user)
        assert heard == []
    assert names(heard) == ["session_started"]
    with pytest.raises(RuntimeError, match="undo"), transaction.atomic():
        sessions.end_all(user)
        raise RuntimeError("undo")
    assert names(heard) == ["session_started"]
