import importlib.util
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection

from tokens import clock


def test_moments_are_aware_with_time_zones_and_naive_utc_without(settings: Any) -> None:
    assert clock.from_epoch(0) == datetime(1970, 1, 1, tzinfo=UTC)
    settings.USE_TZ = False
    assert clock.from_epoch(0) == datetime(1970, 1, 1)  # noqa: DTZ001
    assert clock.now().tzinfo is None


@pytest.mark.parametrize("use_tz", [True, False])
def test_epochs_round_trip_in_whole_seconds(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    assert clock.to_epoch(clock.from_epoch(1_900_000_000.9)) == 1_900_000_000


@pytest.mark.django_db
def test_the_database_clock_is_utc_and_near_ours() -> None:
    if connection.vendor == "mysql":  # where NOW() follows the time zone of the session
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+05:00'")
    before, found, after = clock.now(), clock.database_now("default"), clock.now()
    assert before - timedelta(minutes=1) < found < after + timedelta(minutes=1)


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("platform", "has_boottime", "expected"),
    [
        ("linux", True, partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", 7))),
        ("darwin", False, partial(time.clock_gettime, time.CLOCK_MONOTONIC)),
        ("win32", False, partial(time.monotonic)),
    ],
)
def test_a_suspended_machine_ages_on_each_platform(
    platform: str, has_boottime: bool, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    if has_boottime:
        monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    else:
        monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    spec = importlib.util.spec_from_file_location("tokens.clock_elsewhere", clock.__file__)
    assert spec is not None
    assert spec.loader is not None
    there = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(there)
    assert (there.elapsed.func, there.elapsed.args) == (expected.func, expected.args)
