from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection, connections

from tokens.checks import leftovers, protection, values
from tokens.conf import Conf
from tokens.models import TokenSession

OURS = "tokens.api.authentication.JWTAuthentication"
THEIRS = "rest_framework_simplejwt.authentication.JWTAuthentication"
OUR_TOKEN = "tokens.jwt.AccessToken"
THEIR_TOKEN = "rest_framework_simplejwt.tokens.AccessToken"


def ids() -> list[str]:
    """Return what the checks find, but for modules that tests/test_leftovers.py is about."""
    # To look through all of them takes most of the time.
    with patch.object(leftovers, "_in_modules", return_value=()):
        return ids_of_all()


def ids_of_all() -> list[str]:
    return [message.id for message in run_checks() if str(message.id).startswith("tokens.")]


@pytest.mark.any_database
def test_the_project_passes() -> None:
    assert ids_of_all() == []


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TOKENS_CLEANUP_INTERVAL", 24, "tokens.E001"),
        ("TOKENS_CLEANUP_INTERVAL", timedelta(0), "tokens.E001"),
        ("TOKENS_CLEANUP_MARGIN", timedelta(seconds=-1), "tokens.E002"),
        ("TOKENS_CLEANUP_MARGIN", None, "tokens.E002"),
        ("TOKENS_RETENTION", "90d", "tokens.E003"),
        ("TOKENS_CLEANUP_BATCH_SECONDS", 0, "tokens.E004"),
        ("TOKENS_CLEANUP_BATCH_SECONDS", True, "tokens.E004"),
        ("TOKENS_CLEANUP_BATCH_SECONDS", timedelta(seconds=1), "tokens.E004"),
        ("TOKENS_ROTATION_GRACE", -1, "tokens.E005"),
        ("TOKENS_SESSION_METADATA", "no", "tokens.E006"),
        ("TOKENS_CHECK_MAX_AGE", 1, "tokens.E009"),
        ("TOKENS_CHECK_MAX_AGE", timedelta(seconds=-1), "tokens.E009"),
        ("TOKENS_ROTATION_GRACE_PERIOD", timedelta(0), "tokens.W001"),
        ("TOKENS_XYZZY", 1, "tokens.W001"),
    ],
)
def test_a_setting_without_meaning_is_reported(
    name: str, value: Any, expected: str, settings: Any
) -> None:
    setattr(settings, name, value)
    assert ids() == [expected]


@pytest.mark.any_database
def test_every_setting_has_a_check_that_its_default_passes(settings: Any) -> None:
    names = {name for name in vars(Conf) if name.startswith("TOKENS_")}
    assert set(values.RULES) == names
    for name in names:
        if hasattr(settings, name):
            delattr(settings, name)
    assert ids() == []


@pytest.mark.any_database
def test_an_unknown_name_is_answered_by_the_nearest(settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVALL = timedelta(hours=1)
    (message,) = values.check_names()
    assert message.hint == "Did you mean TOKENS_CLEANUP_INTERVAL?"


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"LEEWAY": "60"}, ["tokens.E010"]),
        ({"LEEWAY": -1}, ["tokens.E010"]),
        ({"LEEWAY": timedelta(seconds=60)}, []),
        ({"LEEWAY": None}, []),
        ({"JTI_CLAIM": None}, ["tokens.E011"]),
        ({"BLACKLIST_AFTER_ROTATION": True}, []),
    ],
    ids=str,
)
def test_settings_of_simplejwt_are_checked(
    changes: dict[str, Any], expected: list[str], settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | changes
    assert ids() == expected


@pytest.mark.any_database
def test_W010_simplejwts_own_app_with_blacklist_after_rotation(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"BLACKLIST_AFTER_ROTATION": True}
    monkeypatch.setattr(values.apps, "is_installed", lambda name: True)
    assert "tokens.W010" in [message.id for message in values.check_simplejwt()]


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("doors", "token", "expected"),
    [
        ([OURS], OUR_TOKEN, []),
        ([THEIRS], OUR_TOKEN, []),
        ([OURS], THEIR_TOKEN, []),
        ([THEIRS], THEIR_TOKEN, ["tokens.E020"]),
        ([], THEIR_TOKEN, ["tokens.E020"]),
        (["rest_framework.authentication.SessionAuthentication"], THEIR_TOKEN, ["tokens.E020"]),
        ([THEIRS, OURS], THEIR_TOKEN, ["tokens.E021"]),
        ([OURS, "rest_framework.authentication.SessionAuthentication"], THEIR_TOKEN, []),
    ],
)
def test_protection_is_void_only_if_a_door_and_its_tokens_do_not_ask(
    doors: list[str], token: str, expected: list[str], settings: Any
) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_AUTHENTICATION_CLASSES": doors}
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"AUTH_TOKEN_CLASSES": [token]}
    assert ids() == expected


@pytest.mark.any_database
def test_E022_simplejwts_views_with_simplejwts_serializers(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rest_framework_simplejwt.views import TokenRefreshView

    settings.ROOT_URLCONF = "tests.simplejwt_urls"
    assert ids() == []
    monkeypatch.setattr(
        TokenRefreshView,
        "_serializer_class",
        "rest_framework_simplejwt.serializers.TokenRefreshSerializer",
    )
    (message,) = protection.check_urls()
    assert message.id == "tokens.E022"
    assert "auth/token/refresh/" in message.msg


def test_W012_simplejwts_refresh_view_in_a_request_transaction(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ROOT_URLCONF = "tests.simplejwt_urls"
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert ids() == ["tokens.W012"]


def test_W013_sqlite_without_immediate_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert protection.check_write_lock() == []
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {})
    found = [message.id for message in protection.check_write_lock()]
    assert found == (["tokens.W013"] if connection.vendor == "sqlite" else [])


class OwnSerializer:
    pass


@pytest.mark.any_database
def test_W011_a_serializer_that_our_urls_can_not_use(settings: Any) -> None:
    own = "tests.test_checks.OwnSerializer"
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"TOKEN_OBTAIN_SERIALIZER": own}
    assert ids() == ["tokens.W011"]


class Router:
    def db_for_write(self, model: type, **hints: Any) -> str | None:
        return "elsewhere" if model is TokenSession else None


def test_E023_users_and_sessions_in_different_databases(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.test_checks.Router"]
    assert [message.id for message in protection.check_databases()] == ["tokens.E023"]


def test_E024_nobody_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert protection.check_databases() == []
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", False)
    assert [message.id for message in protection.check_databases()] == ["tokens.E024"]


def test_check_runs_them(settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = None
    with pytest.raises(SystemCheckError, match=r"tokens\.E001"):
        call_command("check")
