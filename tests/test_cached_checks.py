"""``manage.py check`` says where cached checks promise little or nothing."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQLWrapper

from tokens.checks.cached import check_cached

from .conftest import SECOND

pytestmark = pytest.mark.any_database


class ReadsAReplica:
    """Reads the app's tables from another database than it writes them to."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "replica" if model._meta.app_label == "tokens" else None


def ids() -> list[str | None]:
    return [message.id for message in check_cached()]


def test_without_the_setting_there_is_nothing_to_say(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [ReadsAReplica()]
    settings.TOKENS_CHECK_MAX_AGE = timedelta(0)
    assert ids() == []


def test_a_second_is_fine(settings: Any) -> None:
    settings.TOKENS_CHECK_MAX_AGE = SECOND
    assert ids() == []


@pytest.mark.parametrize("value", [1, "1 s", None, -SECOND])
def test_a_value_without_meaning_is_the_business_of_another_check(
    value: object, settings: Any
) -> None:
    settings.TOKENS_CHECK_MAX_AGE = value
    assert ids() == []


def test_W015_an_age_longer_than_a_token_lives(settings: Any) -> None:
    settings.TOKENS_CHECK_MAX_AGE = timedelta(minutes=5)
    assert ids() == []
    settings.TOKENS_CHECK_MAX_AGE = timedelta(minutes=5) + SECOND
    assert ids() == ["tokens.W015"]


def test_W016_a_router_that_reads_from_a_replica(settings: Any) -> None:
    settings.TOKENS_CHECK_MAX_AGE = SECOND
    settings.DATABASE_ROUTERS = [ReadsAReplica()]
    assert ids() == ["tokens.W016"]


def test_W017_a_database_that_can_have_no_snapshot(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TOKENS_CHECK_MAX_AGE = SECOND
    database = connections["default"]
    settings.USE_TZ = database.vendor != "postgresql"
    monkeypatch.setattr(database, "timezone_name", "Asia/Kolkata")
    assert ids() == ["tokens.W017"]


@pytest.mark.parametrize(
    ("pool", "warns"),
    [
        *((None, False), (False, False), (True, False), ({"min_size": 1}, True)),
        *(({"min_size": 1, "max_size": 1}, True), ({"min_size": 1, "max_size": 2}, False)),
        *(({"timeout": 3}, False), ({"max_size": 10}, False)),
    ],
)
def test_W039_a_pool_of_one_connection_that_a_request_keeps(
    pool: object, warns: bool, settings: Any
) -> None:
    settings.TOKENS_CHECK_MAX_AGE = SECOND
    real = connections["default"]
    options = real.settings_dict | {"OPTIONS": {"pool": pool}}
    connections["default"] = PostgreSQLWrapper(options | {"ATOMIC_REQUESTS": False}, "default")
    try:
        assert ids() == []
        connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
        assert ids() == ["tokens.W039"] * warns
    finally:
        connections["default"] = real
