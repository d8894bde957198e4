"""What the description of the endpoints says about cookies."""

from typing import Any

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator

from .test_schema import openapis_own_schemas_unchecked

pytestmark = pytest.mark.any_database


def schema() -> dict[str, Any]:
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


def security(found: dict[str, Any], method: str, name: str) -> list[list[str]]:
    ways = found["paths"][f"/api/{name}"][method].get("security", [])
    return [sorted(one) for one in ways]


def test_without_cookies_the_header_is_the_only_scheme() -> None:
    found = schema()
    assert set(found["components"]["securitySchemes"]) == {"jwtAuth"}
    assert security(found, "get", "sessions/") == [["jwtAuth"]]
    assert security(found, "get", "me/") == [["jwtAuth"]]
    assert security(found, "post", "logout/") == [["jwtAuth"], []]
    assert security(found, "post", "token/refresh/") == []


def test_cookies_are_schemes_of_their_own(settings: Any) -> None:
    settings.TOKENS_COOKIES = ("refresh", "access")
    found = schema()
    schemes = found["components"]["securitySchemes"]
    assert set(schemes) == {"jwtAuth", "accessCookie", "refreshCookie"}
    assert schemes["jwtAuth"]["scheme"] == "bearer"
    for kind, name in (("access", "__Host-tokens_access"), ("refresh", "__Secure-tokens_refresh")):
        scheme = schemes[f"{kind}Cookie"]
        assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "cookie", name)
    for method, name in (("get", "sessions/"), ("post", "logout/all/"), ("get", "me/")):
        assert security(found, method, name) == [["jwtAuth"], ["accessCookie"]]
    for name in ("token/refresh/", "token/blacklist/"):
        assert security(found, "post", name) == [["refreshCookie"], []]
    ways = [["jwtAuth"], ["accessCookie"], ["refreshCookie"], []]
    assert security(found, "post", "logout/") == ways
    for name in ("token/", "token/verify/"):
        assert security(found, "post", name) == []


def test_one_cookie_is_one_scheme(settings: Any) -> None:
    settings.TOKENS_COOKIES = ("refresh",)
    found = schema()
    assert set(found["components"]["securitySchemes"]) == {"jwtAuth", "refreshCookie"}
    assert security(found, "get", "sessions/") == [["jwtAuth"]]
    assert security(found, "post", "logout/") == [["jwtAuth"], ["refreshCookie"], []]


@pytest.mark.parametrize("kinds", [(), ("refresh",), ("refresh", "access")], ids=str)
def test_the_description_is_valid(kinds: Any, settings: Any, tmp_path: Any) -> None:
    settings.TOKENS_COOKIES = kinds
    file = str(tmp_path / "schema.yaml")
    with openapis_own_schemas_unchecked():
        call_command("spectacular", validate=True, fail_on_warn=True, file=file)
