from datetime import timedelta
from typing import Any

import pytest
from django.conf import Settings, UserSettingsHolder, global_settings
from django.conf import settings as django_settings
from django.test import override_settings

from tokens.conf import Reading, conf, given, reading, simplejwt

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


@pytest.fixture(params=["a module of settings", "settings of somebody else's making"])
def wrapped(request: pytest.FixtureRequest) -> Any:
    """What Django's settings look up: that of a server, and that of tests and ``configure``."""
    before = django_settings._wrapped
    plain = Settings("tests.settings")
    holder = UserSettingsHolder(plain)
    django_settings._wrapped = plain if "module" in request.param else holder
    yield django_settings._wrapped
    django_settings._wrapped = before


def test_a_setting_is_followed_wherever_django_keeps_it(wrapped: Any) -> None:
    name = "TOKENS_NOBODY_HAS_SET_THIS"
    for _ in range(2):
        assert given(name, default=1) == 1
    setattr(django_settings, name, 2)
    for _ in range(2):
        assert given(name, default=1) == 2
    with override_settings(**{name: 3}):
        assert given(name, default=1) == 3
    assert given(name, default=1) == 2
    delattr(django_settings, name)
    assert given(name, default=1) == 1
    setattr(wrapped, name, 4)
    assert given(name, default=1) == 4
    delattr(wrapped, name)


def test_settings_that_were_configured_by_hand_are_read_too(wrapped: Any) -> None:
    django_settings._wrapped = UserSettingsHolder(global_settings)
    assert given("USE_TZ", default=False) is True
    assert given("TOKENS_SESSION_CLAIM", default="sid") == "sid"


def test_what_reads_claims_is_kept_until_a_setting_changes(settings: Any) -> None:
    seen: list[Reading] = [reading()]

    def is_new() -> bool:
        seen.append(reading())
        assert reading() is seen[-1]
        return seen[-1] is not seen[-2]

    assert not is_new()
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"JTI_CLAIM": "id"}
    assert is_new()
    assert reading().jti_claim == "id"
    settings.SIMPLE_JWT["JTI_CLAIM"] = "number"  # in place
    assert is_new()
    assert reading().jti_claim == "number"
    settings.SIMPLE_JWT = dict(settings.SIMPLE_JWT)  # the same values
    assert not is_new()
    settings.TOKENS_SESSION_CLAIM = "session"
    assert is_new()
    assert reading().session_claim == "session"
    settings.USE_TZ = not settings.USE_TZ
    assert is_new()
    del settings.SIMPLE_JWT
    assert is_new()
    assert reading().jti_claim == "jti"


def test_a_change_in_place_counts_wherever_a_name_is_read(settings: Any) -> None:
    settings.SIMPLE_JWT = {"ISSUER": "one"}
    assert simplejwt.ISSUER == "one"
    settings.SIMPLE_JWT["ISSUER"] = "two"
    assert simplejwt.ISSUER == "two"
    settings.SIMPLE_JWT.clear()
    assert simplejwt.ISSUER is None
