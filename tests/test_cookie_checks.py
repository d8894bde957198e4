"""What ``manage.py check`` says about cookies."""

from typing import Any

import pytest
from django.core.checks import Tags, run_checks

from tokens.checks import cookies

from .test_checks import OURS, THEIRS, ids

pytestmark = pytest.mark.any_database


@pytest.fixture
def on(settings: Any) -> None:
    settings.TOKENS_COOKIES = ("refresh", "access")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("COOKIES", ("refesh",), "tokens.E040"),
        ("COOKIES", ("access",), "tokens.E040"),
        ("COOKIES", ("refresh", "access", "sliding"), "tokens.E040"),
        ("COOKIES", "refresh", "tokens.E040"),
        ("COOKIES", True, "tokens.E040"),
        ("COOKIES", None, "tokens.E040"),
        ("COOKIES", [["refresh"]], "tokens.E040"),
        ("COOKIE_SAMESITE", "lax", "tokens.E041"),
        ("COOKIE_SAMESITE", None, "tokens.E041"),
        ("COOKIE_SAMESITE", False, "tokens.E041"),
        ("COOKIE_SECURE", None, "tokens.E042"),
        ("COOKIE_SECURE", "yes", "tokens.E042"),
        ("COOKIE_DOMAIN", "https://example.com", "tokens.E043"),
        ("COOKIE_DOMAIN", "example.com:8000", "tokens.E043"),
        ("COOKIE_DOMAIN", "", "tokens.E043"),
        ("COOKIE_DOMAIN", "a.example; path=/", "tokens.E043"),
        ("COOKIE_PATH", "api/", "tokens.E044"),
        ("COOKIE_PATH", "/api", "tokens.E044"),
        ("COOKIE_PATH", "/a;b/", "tokens.E044"),
        ("COOKIE_PATH", "/ü/", "tokens.E044"),
        ("COOKIE_PATH", "", "tokens.E044"),
    ],
)
def test_a_setting_without_meaning_is_reported(
    name: str, value: Any, expected: str, settings: Any
) -> None:
    setattr(settings, f"TOKENS_{name}", value)
    assert ids() == [expected]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COOKIES", []),
        ("COOKIES", {"access", "refresh"}),
        ("COOKIES", ["refresh"]),
        ("COOKIE_SAMESITE", "Strict"),
        ("COOKIE_DOMAIN", "api.example.com"),
        ("COOKIE_DOMAIN", ".example.com"),
        ("COOKIE_DOMAIN", "localhost"),
        ("COOKIE_PATH", "/"),
        ("COOKIE_PATH", "/backend/v1.0/~a/"),
    ],
)
def test_a_setting_with_a_meaning_is_not(name: str, value: Any, settings: Any) -> None:
    setattr(settings, f"TOKENS_{name}", value)
    assert ids() == []


def test_E041_cookies_for_all_sites_that_no_browser_takes(settings: Any) -> None:
    settings.TOKENS_COOKIE_SAMESITE = "None"
    assert ids() == []
    settings.TOKENS_COOKIE_SECURE = False
    assert ids() == ["tokens.E041"]


@pytest.mark.parametrize(
    ("domain", "hosts", "expected"),
    [
        ("example.com", ["api.example.com"], ["tokens.W050"]),
        (".example.com", ["api.example.com"], ["tokens.W050"]),
        ("example.com", [".example.com"], ["tokens.W050"]),
        ("example.com", ["*"], ["tokens.W050"]),
        ("api.example.com", ["api.example.com"], []),
        ("example.com", ["notexample.com"], []),
        (None, ["*"], []),
    ],
)
def test_W050_a_domain_that_covers_siblings(
    domain: str | None, hosts: list[str], expected: list[str], on: None, settings: Any
) -> None:
    settings.TOKENS_COOKIE_DOMAIN, settings.ALLOWED_HOSTS = domain, hosts
    assert ids() == expected
    settings.TOKENS_COOKIES = ()
    assert ids() == []


@pytest.mark.parametrize(
    ("cors", "number"),
    [
        ({"CORS_ALLOW_ALL_ORIGINS": True}, 1),
        ({"CORS_ORIGIN_ALLOW_ALL": True}, 1),
        ({"CORS_ALLOWED_ORIGIN_REGEXES": [".*", r"^https://.+$"]}, 1),
        ({"CORS_ALLOWED_ORIGIN_REGEXES": [r"^https://\w+\.example\.com$"]}, 0),
        ({"CORS_ALLOWED_ORIGINS": ["https://app.example.com"]}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_W051_cors_that_lets_every_site_in(
    cors: dict[str, Any], number: int, on: None, settings: Any
) -> None:
    for name, value in cors.items():
        setattr(settings, name, value)
    assert ids() == []
    settings.CORS_ALLOW_CREDENTIALS = True
    assert ids() == ["tokens.W051"] * number
    settings.TOKENS_COOKIES = ()
    assert ids() == []


def test_W052_nothing_hands_out_csrf_tokens(on: None, settings: Any) -> None:
    csrf = "django.middleware.csrf.CsrfViewMiddleware"
    settings.MIDDLEWARE = [one for one in settings.MIDDLEWARE if one != csrf]
    assert "tokens.W052" in ids()
    settings.TOKENS_COOKIES = ()
    assert "tokens.W052" not in ids()


def test_W053_simplejwts_views_and_sliding_tokens_know_no_cookies(on: None, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.simplejwt_urls"
    found = {one.msg for one in cookies.check_parts_without_cookies()}
    assert len(found) == 6
    assert any("'auth/sliding/'" in one for one in found)
    settings.ROOT_URLCONF = "project.urls"
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {
        "AUTH_TOKEN_CLASSES": ["tokens.jwt.AccessToken", "tokens.jwt.SlidingToken"]
    }
    assert ids() == ["tokens.W053"]
    settings.TOKENS_COOKIES = ()
    assert ids() == []


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([THEIRS], ["tokens.W053"]),
        ([THEIRS, OURS], []),
        ([OURS], []),
        (["rest_framework.authentication.SessionAuthentication"], []),
        ([], []),
    ],
)
def test_W053_simplejwts_authentication_knows_no_cookies(
    classes: list[str], expected: list[str], settings: Any
) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_AUTHENTICATION_CLASSES": classes}
    for kinds in ((), ("refresh",), ("refresh", "access")):
        settings.TOKENS_COOKIES = kinds
        assert ids() == (expected if "access" in kinds else [])


def test_W054_cookies_over_plain_http(on: None, settings: Any) -> None:
    def found() -> list[Any]:
        everything = run_checks(tags=[Tags.security], include_deployment_checks=True)
        return [one.id for one in everything if one.id == "tokens.W054"]

    assert found() == []
    settings.TOKENS_COOKIE_SECURE = False
    assert found() == ["tokens.W054"]
    assert ids() == []
    settings.TOKENS_COOKIES = ()
    assert found() == []
