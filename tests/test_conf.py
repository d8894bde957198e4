from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from tokens.conf import conf, simplejwt

pytestmark = pytest.mark.any_database


def test_settings_are_read_when_used(settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(seconds=3)
    assert timedelta(seconds=3) == conf.TOKENS_ROTATION_GRACE
    del settings.TOKENS_ROTATION_GRACE
    assert timedelta(seconds=10) == conf.TOKENS_ROTATION_GRACE


def test_the_age_of_cached_checks_is_read_when_used_although_each_check_reads_it(
    settings: Any,
) -> None:
    for seconds in (1, 2):
        settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=seconds)
        for _ in range(2):
            assert timedelta(seconds=seconds) == conf.TOKENS_CHECK_MAX_AGE
    with override_settings(TOKENS_CHECK_MAX_AGE=timedelta(seconds=3)):
        for _ in range(2):
            assert timedelta(seconds=3) == conf.TOKENS_CHECK_MAX_AGE
    assert timedelta(seconds=2) == conf.TOKENS_CHECK_MAX_AGE
    del settings.TOKENS_CHECK_MAX_AGE
    for _ in range(2):
        assert timedelta(0) == conf.TOKENS_CHECK_MAX_AGE


def test_leeway_may_be_a_number_a_duration_or_nothing(settings: Any) -> None:
    for value, seconds in [(30, 30), (0.5, 0.5), (timedelta(minutes=1), 60), (None, 0)]:
        settings.SIMPLE_JWT = {"LEEWAY": value}
        assert simplejwt.LEEWAY.total_seconds() == seconds
    settings.SIMPLE_JWT = None
    assert timedelta(0) == simplejwt.LEEWAY


def test_our_defaults_for_simplejwts_settings_are_simplejwts(settings: Any) -> None:
    from rest_framework_simplejwt.settings import DEFAULTS

    settings.SIMPLE_JWT = {}
    names = [name for name in dir(simplejwt) if name.isupper() and name != "LEEWAY"]
    assert len(names) >= 9
    assert {name: getattr(simplejwt, name) for name in names} == {
        name: DEFAULTS[name] for name in names
    }
