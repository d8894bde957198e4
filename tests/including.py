"""What the tests of projects that are not ours share: a login, odd bodies, and endpoints."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile

from tokens import clock
from tokens.jwt import AccessToken, RefreshToken

from .conftest import Login
from .forge import sign, signed

OPERATIONS = {
    "token_obtain_pair": "login",
    "token_refresh": "refresh",
    "token_verify": "verify",
    "token_blacklist": "blacklist",
    "token_logout": "logout",
    "token_logout_all": "logout_all",
    "token_logout_others": "logout_others",
    "token_session_list": "list_sessions",
    "token_session_detail": "end_session",
    "token_introspect": "introspect",
    "token_revoke": "revoke",
    "token_revocations": "list_revocations",
}
POSTS = ["token/", "token/refresh/", "token/verify/", "token/blacklist/", "logout/"]
LOGOUTS = [
    ("post", "token/blacklist/"),
    ("post", "logout/"),
    ("post", "logout/all/"),
    ("post", "logout/others/"),
    ("delete", "sessions/x/"),
]


def expired(**claims: Any) -> str:
    now = clock.to_epoch(clock.now())
    return signed(iat=now - 999, exp=now - 900, **claims)


def useless() -> dict[str, Any]:
    """Return what clients send as ``refresh`` that is of no use."""
    return {
        "null": None,
        "empty": "",
        "blank": "  \t",
        "number": 17,
        "fraction": 1.5,
        "true": True,
        "list": ["x"],
        "object": {"token": "x"},
        "undefined": "undefined",
        "NUL": "\0",
        "surrogate": "\ud800",
        "forged": sign(AccessToken().payload, key="of somebody else" * 4),
        "unsigned": sign(RefreshToken().payload, algorithm="none"),
        "no object": sign("x"),
        "wrong type": signed(),
        "odd type": signed(token_type=[]),
        "odd claim": signed(token_type="refresh", jti=5),
        "no jti": signed(token_type="refresh", jti=...),
        "too long": signed(token_type="refresh", bulk="x" * 9000),
    }


ODD_BODIES: dict[str, dict[str, Any]] = {
    "a list": {"data": '["x"]', "content_type": "application/json"},
    "a number": {"data": "5", "content_type": "application/json"},
    "null": {"data": "null", "content_type": "application/json"},
    "no JSON": {"data": '{"refresh": ', "content_type": "application/json"},
    "no body": {"data": "", "content_type": "application/json"},
    "deep": {"data": "[" * 100_000, "content_type": "application/json"},
    "not UTF-8": {"data": b"\xff\xfe\xff", "content_type": "application/json"},
    "plain text": {"data": "x", "content_type": "text/plain"},
    "XML": {"data": "<refresh/>", "content_type": "application/xml; charset=x"},
    "no such type": {"data": "x", "content_type": "nonsense"},
    "odd type": {"data": "x", "content_type": ";;=/;charset"},
    "no such charset": {"data": "{}", "content_type": "application/json; charset=klingon"},
    "no text": {"data": "{}", "content_type": "application/json; charset=zlib"},
    "punycode": {
        "data": "{}",
        "content_type": "application/x-www-form-urlencoded; charset=punycode",
    },
    "no boundary": {"data": "x", "content_type": "multipart/form-data"},
    "broken multipart": {"data": "--x\r\n", "content_type": "multipart/form-data; boundary=x"},
    "JSON as a form": {
        "data": '{"refresh": "x"}',
        "content_type": "application/x-www-form-urlencoded",
    },
    "many fields": {"data": "a=1&" * 2000, "content_type": "application/x-www-form-urlencoded"},
    "large": {"data": json.dumps({"x": "x" * 3_000_000}), "content_type": "application/json"},
    "a file": {"data": {"refresh": SimpleUploadedFile("x", b"x")}, "format": "multipart"},
}


@pytest.fixture
def ada(user: AbstractUser) -> Login:
    return Login(user)


@pytest.fixture(autouse=True)
def no_rates() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def shape(answer: Any) -> set[str]:
    return {"detail", "code"} & set(answer.json())
