from datetime import UTC, datetime, timedelta
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
    difference = clock.database_now("default") - clock.now()
    assert abs(difference) < timedelta(minutes=1)
