"""Whatever clients send, the answer is no 500."""

import encodings.aliases
import json
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.http import UnreadablePostError
from django.test import Client
from rest_framework.parsers import BaseParser
from rest_framework.settings import api_settings as rest_framework
from rest_framework.test import APIClient
from rest_framework.views import exception_handler

from tokens import sessions
from tokens.api.views import TokenView

from .conftest import Login, bearer
from .including import ODD_BODIES, POSTS, shape
from .including import ada as ada
from .including import no_rates as no_rates

pytestmark = pytest.mark.django_db(transaction=True)

# Not each alias: Python looks it up, and reads by the same codec.
CODECS = sorted(
    {*encodings.aliases.aliases.values()}
    | {module.name for module in pkgutil.iter_modules(encodings.__path__)}
    | {"base64", "rot13", "hex", "quopri", "uu", "bz2", "string_escape", "klingon", "", "é"}
)
KINDS = {
    "form": ("application/x-www-form-urlencoded", b"username=a&password=b&refresh=c&token=d"),
    "multipart": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="refresh"\r\n\r\n\xe9\r\n--x--\r\n',
    ),
    "json": ("application/json", b'{"username":"a","password":"b","refresh":"c","token":"d"}'),
    "odd form": ("application/x-www-form-urlencoded", b"\xff\xfe%FF=%E9&{}&xn--=--"),
    "odd json": ("application/json", b"\xff\xfe\x00{"),
}


ODD_CODECS = ["punycode", "idna", "undefined", "unicode_escape", "base64", "rot13", "klingon", ""]


def assert_no_500(name: str, kind: str, codecs: list[str]) -> None:
    api = APIClient(raise_request_exception=False)
    content_type, body = KINDS[kind]
    for codec in codecs:
        answer = api.generic("POST", f"/api/{name}", body, f"{content_type}; charset={codec}")
        assert answer.status_code in (400, 401, 415), codec
        assert shape(answer) == {"detail", "code"}, codec


@pytest.mark.any_database
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", POSTS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of unicode_escape
def test_no_odd_charset_gives_a_500(name: str, kind: str) -> None:
    assert_no_500(name, kind, ODD_CODECS)


# The endpoints read bodies by the same code, so one of them meets all codecs.
@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_charset_gives_a_500(kind: str) -> None:
    assert {"punycode", "idna", "undefined", "unicode_escape", "mbcs", "zlib_codec"} < set(CODECS)
    assert_no_500("token/refresh/", kind, CODECS)


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["logout/all/", "logout/others/"])
def test_bodies_that_nobody_reads_may_be_anything(ada: Login, name: str) -> None:
    answer = ada.api.post(f"/api/{name}", **ODD_BODIES["punycode"], **bearer(ada.access))
    assert answer.status_code == 200


@pytest.mark.any_database
@pytest.mark.parametrize(
    "kind", ["", "application", "*/*", "é/ü", "application/json;;=", "x" * 9999]
)
@pytest.mark.parametrize("name", POSTS)
def test_no_content_type_gives_a_500(name: str, kind: str) -> None:
    api = APIClient(raise_request_exception=False)
    answer = api.generic("POST", f"/api/{name}", b'{"refresh": "x"}', kind)
    assert answer.status_code in (400, 401, 415)
    assert shape(answer) == {"detail", "code"}


@pytest.mark.parametrize("number", ["0", "-1", "x", "", "9" * 30, "9" * 5000, "1e400", "٣", "%00"])
def test_no_number_gives_a_500_in_the_list_of_sessions(ada: Login, number: str) -> None:
    for query in ("page", "page_size"):
        answer = ada.api.get(f"/api/sessions/?{query}={number}", **bearer(ada.access))
        assert answer.status_code in (200, 404)
    answer = ada.api.delete(f"/api/sessions/{number or 'x'}/", **bearer(ada.access))
    assert (answer.status_code, shape(answer)) == (404, {"detail", "code"})


class Bug(BaseParser):
    """A mistake in a parser of the project."""

    media_type = "application/json"

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        return {}["refresh"]


@pytest.mark.any_database
@pytest.mark.parametrize("error", [LookupError, UnicodeError, RecursionError, ValueError])
def test_the_same_errors_in_our_own_code_are_no_fault_of_the_client(
    ada: Login, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    ada.api.raise_request_exception = False
    monkeypatch.setattr(sessions, "end", fail)
    assert ada.logout().status_code == 500


@pytest.mark.any_database
def test_a_mistake_in_a_parser_is_no_fault_of_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TokenView, "parser_classes", [Bug])
    api = APIClient(raise_request_exception=False)
    assert api.post("/api/logout/", {"refresh": "x"}, format="json").status_code == 500


class Zlib(BaseParser):
    """A parser of the project that believes any charset."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        import codecs

        return json.load(codecs.getreader(parser_context["encoding"])(stream))


@pytest.mark.any_database
@pytest.mark.parametrize("charset", ["zlib", "rot13", "base64", "bz2", "undefined", "punycode"])
def test_parsers_of_the_project_get_text_only(
    monkeypatch: pytest.MonkeyPatch, charset: str
) -> None:
    monkeypatch.setattr(TokenView, "parser_classes", [Zlib])
    api = APIClient(raise_request_exception=False)
    answer = api.generic("POST", "/api/logout/", b"{}x", f"application/json; charset={charset}")
    assert (answer.status_code, shape(answer)) == (400, {"detail", "code"})


@pytest.mark.any_database
def test_a_body_that_breaks_off_is_no_500(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: Any) -> bytes:
        raise UnreadablePostError("the client went away")

    monkeypatch.setattr("django.core.handlers.wsgi.WSGIRequest.read", read)
    api = APIClient(raise_request_exception=False)
    answer = api.post("/api/logout/", {"refresh": "x"}, format="json")
    assert (answer.status_code, shape(answer)) == (400, {"detail", "code"})


@pytest.mark.any_database
@pytest.mark.parametrize("name", POSTS)
def test_a_large_body_is_answered_like_any_other(name: str) -> None:
    for kind in ("large", "many fields"):
        answer = APIClient().post(f"/api/{name}", **ODD_BODIES[kind])
        assert (answer.status_code, shape(answer)) == (400, {"detail", "code"})


def reads_data(error: Exception, context: dict[str, Any]) -> Any:
    """An exception handler of the project, which logs what was sent."""
    assert not context["request"].data
    return exception_handler(error, context)


# Python 3.13 changed the error, and Django reads the body as Latin-1 instead.
PUNYCODE = pytest.param(
    "punycode", marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="readable")
)


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["large", "many fields", "deep", PUNYCODE, "no text"])
def test_an_exception_handler_may_look_at_an_unreadable_body(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(rest_framework, "EXCEPTION_HANDLER", reads_data)
    answer = APIClient().post("/api/token/refresh/", **ODD_BODIES[name])
    assert (answer.status_code, shape(answer)) == (400, {"detail", "code"})


HUGE = [
    *(2**63, -(2**63) - 1, 10**23),
    # More of the kind, which are refused before a statement.
    *(
        pytest.param(one, marks=pytest.mark.any_database)
        for one in (10**400, "9" * 5000, "1e400", "nan")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blacklistentry", "tokensession", "cleanuprun"])
@pytest.mark.parametrize("number", HUGE, ids=lambda number: str(number)[:20])
def test_no_number_gives_a_500_in_the_admin(
    staff: Callable[..., Client], name: str, number: Any
) -> None:
    client = staff(is_superuser=True)
    url = f"/admin/tokens/{name}/"
    for query in ("user", "q", "p", "o", "status", "scope__exact", "needed", "user__in"):
        answer = client.get(url, {query: str(number)})
        assert answer.status_code in (200, 302, 400), query
    answer = client.get(f"{url}?user=1&user={number}")
    assert answer.status_code in (200, 302, 400)
    assert client.get(f"{url}{number}/change/").status_code in (302, 404)
    for action in ("end_selected", "end_everywhere", "delete_selected"):
        given = {"action": action, "_selected_action": str(number)}
        for query in ("", f"?user={number}"):
            answer = client.post(url + query, given)
            assert answer.status_code in (200, 302, 400)


def test_a_number_that_is_a_user_still_filters(
    ada: Login, user: AbstractUser, staff: Callable[..., Client]
) -> None:
    client = staff(is_superuser=True)
    for pk, count in ((user.pk, 1), (user.pk + 1, 0)):
        answer = client.get("/admin/tokens/tokensession/", {"user": pk})
        assert answer.context["cl"].result_count == count
