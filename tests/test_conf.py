from datetime import timedelta
from typing import Any

from tokens.conf import conf, simplejwt


def test_settings_are_read_when_used(settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(seconds=3)
    assert timedelta(seconds=3) == conf.TOKENS_ROTATION_GRACE
    del settings.TOKENS_ROTATION_GRACE
    assert timedelta(seconds=10) == conf.TOKENS_ROTATION_GRACE


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
