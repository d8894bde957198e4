"""Nothing that Django mails, shows or filters about an error has a password or a token in it."""

import json
import logging.config
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import FrameType
from typing import Any
from urllib.parse import urlencode

import django
import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.signals import got_request_exception
from django.db import DatabaseError
from django.test import RequestFactory
from django.utils.log import DEFAULT_LOGGING, AdminEmailHandler
from django.views import debug
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter
from jwt.api_jws import PyJWS
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer
from rest_framework.test import APIClient
from rest_framework_simplejwt import serializers as simplejwts
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.settings import api_settings

from project.views import MeView
from tokens import blacklist, sessions
from tokens.api import cookies, serializers
from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.claims import Claims, _known
from tokens.jwt import AccessToken, AnyToken, RefreshToken, SlidingToken

from .conftest import Login, bearer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.any_database,
    pytest.mark.slow,
]

SECRET = "my-secret-password-0451"


page_template = lru_cache(debug.DEBUG_ENGINE.from_string)


@pytest.fixture(autouse=True)
def mails(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log and mail as a project without LOGGING does, with pages of HTML in the mails."""
    address = "ops@example.com"
    settings.DEBUG = False
    settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("ops", address)]
    logging.config.dictConfig(DEFAULT_LOGGING)
    handler = AdminEmailHandler(include_html=True)
    # It mails the text that the default one does, and to write that takes most of the time.
    logging.getLogger("django").handlers.clear()
    # For the same reason, read the templates of the pages once.
    monkeypatch.setattr(debug.DEBUG_ENGINE, "from_string", page_template)
    for name in ("django", "tokens"):  # a project may have the app's own records mailed, too
        logging.getLogger(name).addHandler(handler)
    yield
    for name in ("django", "tokens"):
        logging.getLogger(name).removeHandler(handler)
    logging.config.dictConfig(DEFAULT_LOGGING)
    logging.config.dictConfig(settings.LOGGING)


@pytest.fixture
def raised() -> Iterator[list[tuple[Any, Any]]]:
    """The requests that failed, with what was raised."""
    seen: list[tuple[Any, Any]] = []

    def note(request: Any, **kwargs: Any) -> None:
        seen.append((request, sys.exc_info()))

    got_request_exception.connect(note)
    yield seen
    got_request_exception.disconnect(note)


def mailed() -> str:
    """Return all that was mailed; at least one mail was."""
    assert mail.outbox
    letters: list[Any] = list(mail.outbox)
    return "\n".join(
        str(text)
        for letter in letters
        for text in (letter.subject, letter.body, *letter.alternatives)
    )


class Secrets(set[str]):
    """Passwords and tokens, and what of a token must not be found on its own."""

    def assert_not_in(self, text: str) -> None:
        for secret in self:
            # Any signature, and the whole text in whatever notation.
            assert secret not in text
            assert secret.rpartition(".")[2] not in text


@pytest.fixture
def ada(db: None) -> Login:
    user = get_user_model().objects.create_user("ada", password=SECRET)
    login: Any = Login.__new__(Login)
    login.api = APIClient(raise_request_exception=False)
    token = RefreshToken.for_user(user)
    login.access, login.refresh_token = str(token.access_token), str(token)
    return login


@pytest.fixture
def secrets(ada: Login, settings: Any) -> Secrets:
    return Secrets({SECRET, ada.access, ada.refresh_token, settings.SECRET_KEY})


def fields(ada: Login) -> dict[str, str]:
    return {
        "username": "ada",
        "password": SECRET,
        "refresh": ada.refresh_token,
        "token": ada.refresh_token,
    }


FORMATS: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "form": lambda data: {
        "data": urlencode(data),
        "content_type": "application/x-www-form-urlencoded",
    },
    "multipart": lambda data: {"data": data, "format": "multipart"},
    "json": lambda data: {"data": json.dumps(data), "content_type": "application/json"},
    # What curl sends if the content type is forgotten: the names of the form are the secrets.
    "json as a form": lambda data: {
        "data": json.dumps(data),
        "content_type": "application/x-www-form-urlencoded",
    },
    "bare token": lambda data: {
        "data": data["refresh"],
        "content_type": "application/x-www-form-urlencoded",
    },
}
WITH_FIELDS = ["form", "multipart", "json"]
PUBLIC = ["token/", "token/refresh/", "token/verify/", "token/blacklist/", "logout/"]
SIGNED_IN = [
    ("post", "logout/all/"),
    ("post", "logout/others/"),
    ("get", "sessions/"),
    ("delete", "sessions/x/"),
]


def plant(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], *places: tuple[Any, str]
) -> None:
    """Raise ``error`` in these functions, in a frame that has all their arguments."""

    def fail(*everything: Any, **named: Any) -> Any:
        kept = [*everything, *named.values()]
        raise error(f"planted among {len(kept)}")

    for owner, name in places:
        monkeypatch.setattr(owner, name, fail)
    _known.clear()  # claims that were read before would not come by


DATABASE = [
    (sessions, "start"),
    (sessions, "find"),
    (sessions, "end"),
    (sessions, "end_all"),
    (sessions, "of_user"),
    (sessions, "end_one"),
    (sessions, "accepting"),
    (blacklist, "is_revoked"),
    (blacklist, "user_of"),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", WITH_FIELDS)
@pytest.mark.parametrize("path", PUBLIC)
def test_an_outage_mails_no_secret(
    ada: Login, secrets: Secrets, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    plant(monkeypatch, DatabaseError, *DATABASE)
    answer = ada.api.post(f"/api/{path}", **FORMATS[kind](fields(ada)), **bearer(ada.access))
    assert answer.status_code == 503
    assert "tokens" in mailed()
    secrets.assert_not_in(mailed())
    assert mailed().count("does not answer") >= 1  # ours, with frames


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), SIGNED_IN)
def test_an_outage_mails_no_header(
    ada: Login, secrets: Secrets, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    plant(monkeypatch, DatabaseError, *DATABASE)
    body = fields(ada) if method == "post" else None
    answer = getattr(ada.api, method)(f"/api/{path}", body, **bearer(ada.access))
    assert answer.status_code == 503
    secrets.assert_not_in(mailed())


# Where a mistake of ours could be, from the door to the depths.
BUGS: dict[str, list[tuple[Any, str]]] = {
    "the keys": [(TokenBackend, "decode"), (TokenBackend, "encode")],
    "the claims": [(Claims, "of")],
    "the sessions": DATABASE,
    "the fields": [(simplejwts.PasswordField, "run_validation"), (Claims, "__init__")],
    "the password": [(simplejwts, "authenticate"), (Claims, "__init__")],
    "the serializers": [
        (kind, "validate")
        for kind in (
            simplejwts.TokenObtainSerializer,
            serializers.TokenRefreshSerializer,
            serializers.TokenVerifySerializer,
            serializers.TokenBlacklistSerializer,
        )
    ]
    + [(Claims, "__init__")],
    "the answer": [(JSONRenderer, "render")],
}


def report(raised: list[tuple[Any, Any]]) -> str:
    """Return what a filter lets other ways to report the error have; mails have text and page."""
    request, info = raised[-1]
    plain, shown = SafeExceptionReporterFilter(), []
    trace = info[2]
    while trace is not None:
        if below_the_view(trace.tb_frame):
            shown.append(dict(plain.get_traceback_frame_variables(request, trace.tb_frame)))
        trace = trace.tb_next
    values = plain.get_post_parameters(request).values()
    return "\n".join(map(str, (shown, list(values))))


def below_the_view(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "sensitive_variables_wrapper":
            return True
        frame = frame.f_back
    return False


# How a body was written matters only to what has read it.
SENT = [
    pytest.param(
        bug,
        kind,
        marks=[pytest.mark.thorough] if kind == "multipart" and bug != "the sessions" else [],
    )
    for bug in BUGS
    for kind in WITH_FIELDS
]


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "kind"), SENT)
@pytest.mark.parametrize("path", PUBLIC)
def test_a_bug_of_ours_shows_no_secret(
    ada: Login,
    secrets: Secrets,
    raised: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    kind: str,
    bug: str,
) -> None:
    plant(monkeypatch, RuntimeError, *BUGS[bug])
    body = fields(ada)
    answer = None
    try:
        answer = ada.api.post(f"/api/{path}", **FORMATS[kind](body), **bearer(ada.access))
    except RuntimeError:  # the test client renders again
        assert bug == "the answer"
    if answer is not None and answer.status_code in (200, 204):
        assert bug in ("the answer", "the password", "the fields")  # it took another way
        return
    assert answer is None or answer.status_code == 500
    assert "planted" in mailed()
    secrets.assert_not_in(mailed())
    secrets.assert_not_in(report(raised))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), SIGNED_IN)
@pytest.mark.parametrize("bug", ["the keys", "the claims", "the sessions"])
def test_a_bug_behind_the_header_shows_no_secret(
    ada: Login,
    secrets: Secrets,
    raised: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    bug: str,
) -> None:
    plant(monkeypatch, RuntimeError, *BUGS[bug])
    body = fields(ada) if method == "post" else None
    answer = getattr(ada.api, method)(f"/api/{path}", body, **bearer(ada.access))
    assert answer.status_code == 500
    secrets.assert_not_in(mailed())
    secrets.assert_not_in(report(raised))


@pytest.mark.parametrize("kind", ["json as a form", "bare token"])
def test_names_of_parameters_may_be_secrets(
    ada: Login, secrets: Secrets, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    plant(monkeypatch, DatabaseError, *DATABASE)
    answer = ada.api.post("/api/logout/", **FORMATS[kind](fields(ada)), **bearer(ada.access))
    assert answer.status_code == 503
    secrets.assert_not_in(mailed())


@pytest.mark.parametrize("path", ["/api/me/", "/api/logout/all/"])
def test_a_header_of_the_projects_own_is_hidden(
    ada: Login, secrets: Secrets, raised: list[Any], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_HEADER_NAME", "HTTP_X_JWT")
    plant(monkeypatch, RuntimeError, (blacklist, "user_of"))
    ask = ada.api.get if "me" in path else ada.api.post
    answer = ask(path, HTTP_X_JWT=f"Bearer {ada.access}", HTTP_COOKIE=f"jwt={ada.refresh_token}")
    assert answer.status_code == 500
    secrets.discard(ada.refresh_token)
    secrets.assert_not_in(mailed())
    if path == "/api/logout/all/":  # of its own cookies a project's view has to take care itself
        assert ada.refresh_token not in mailed()
    assert "HTTP_HOST" in mailed() or "SERVER_NAME" in mailed()  # other headers are there


@pytest.mark.parametrize("error", [RuntimeError, DatabaseError])
@pytest.mark.parametrize("bug", ["the keys", "the claims", "the sessions"])
def test_a_projects_own_view_shows_no_token_of_our_authentication(
    ada: Login,
    secrets: Secrets,
    monkeypatch: pytest.MonkeyPatch,
    bug: str,
    error: type[Exception],
) -> None:
    plant(monkeypatch, error, *BUGS[bug])
    assert ada.me().status_code in (500, 503)
    secrets.assert_not_in(mailed())


@pytest.mark.parametrize("is_secure", [True, False])
@pytest.mark.parametrize("bug", ["the keys", "the claims", "the sessions", "the view"])
def test_a_projects_own_view_shows_no_cookie_of_ours(
    ada: Login,
    secrets: Secrets,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    bug: str,
    is_secure: bool,
) -> None:
    settings.TOKENS_COOKIES = ("refresh", "access")
    settings.TOKENS_COOKIE_SECURE = is_secure
    ada.api.cookies[cookies.name("access")] = ada.access
    ada.api.cookies[cookies.name("refresh")] = ada.refresh_token
    plant(monkeypatch, RuntimeError, *BUGS.get(bug, [(MeView, "get")]))
    assert ada.api.get("/api/me/").status_code == 500
    secrets.assert_not_in(mailed())
    assert cookies.name("access") in mailed()  # with stars


@pytest.mark.parametrize("authentication", [JWTAuthentication, JWTStatelessUserAuthentication])
@pytest.mark.parametrize("method", ["authenticate", "get_validated_token", "get_user"])
def test_frames_of_our_authentication_are_marked(
    ada: Login,
    secrets: Secrets,
    monkeypatch: pytest.MonkeyPatch,
    authentication: Any,
    method: str,
) -> None:
    request = Request(RequestFactory().get("/", **bearer(ada.access)))
    token: Any = AccessToken(ada.access)
    given = {
        "authenticate": request,
        "get_validated_token": ada.access.encode(),
        "get_user": token,
    }
    token["note"] = SECRET
    del token._read
    plant(monkeypatch, RuntimeError, (Claims, "of"), (Claims, "__init__"))
    assert_hides(lambda: getattr(authentication(), method)(given[method]), secrets)


def assert_hides(call: Callable[[], Any], secrets: Secrets) -> None:
    """Call what fails, and look into its frames as an error report without a request does."""
    with pytest.raises(RuntimeError, match="planted") as caught:
        call()
    pages = ExceptionReporter(None, caught.type, caught.value, caught.tb.tb_next.tb_next)
    assert "planted" in pages.get_traceback_text()
    secrets.assert_not_in(pages.get_traceback_html())


@pytest.mark.parametrize("kind", [AccessToken, RefreshToken, SlidingToken, AnyToken])
def test_frames_of_our_token_classes_are_marked(
    ada: Login, secrets: Secrets, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    token = kind()
    plant(monkeypatch, RuntimeError, (TokenBackend, "decode"))
    assert_hides(lambda: kind(ada.access), secrets)
    # PyJWT is handed the signing key in order to sign.
    plant(monkeypatch, RuntimeError, (PyJWS, "encode"))
    assert_hides(lambda: str(token), secrets)


OURS = {
    serializers.TokenObtainPairSerializer: ("username", "password"),
    serializers.TokenObtainSlidingSerializer: ("username", "password"),
    serializers.TokenRefreshSerializer: ("refresh",),
    serializers.TokenRefreshSlidingSerializer: ("token",),
    serializers.TokenVerifySerializer: ("token",),
    serializers.TokenBlacklistSerializer: ("refresh",),
}


@pytest.mark.parametrize("serializer", OURS)
def test_our_serializers_mark_the_request_and_their_frames_in_views_of_others(
    ada: Login, secrets: Secrets, monkeypatch: pytest.MonkeyPatch, serializer: Any
) -> None:
    data = {name: fields(ada)[name] for name in OURS[serializer]}
    for request in (RequestFactory().post("/", data), Request(RequestFactory().post("/", data))):
        made = serializer(data=data, context={"request": request})
        secrets.assert_not_in(repr(made))
        http = getattr(request, "_request", request)
        values = SafeExceptionReporterFilter().get_post_parameters(http).values()
        assert set(values) == {SafeExceptionReporterFilter.cleansed_substitute}
    for context in ({}, {"context": None}, {"context": {"request": None}}):
        assert serializer(data=data, **context)
    plant(monkeypatch, RuntimeError, (simplejwts, "authenticate"), (TokenBackend, "decode"))
    assert_hides(lambda: serializer(data=data).is_valid(raise_exception=True), secrets)
    plant(monkeypatch, RuntimeError, (BaseSerializer, "__init__"))
    assert_hides(lambda: serializer(data=data), secrets)


@pytest.mark.slow
@pytest.mark.urls("tests.simplejwt_urls")
@pytest.mark.parametrize("kind", WITH_FIELDS)
@pytest.mark.parametrize("error", [RuntimeError, DatabaseError])
@pytest.mark.parametrize("path", ["token/", "token/refresh/", "token/verify/", "token/blacklist/"])
def test_simplejwts_own_views_with_our_serializers_show_no_secret(
    ada: Login,
    secrets: Secrets,
    raised: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    error: type[Exception],
    kind: str,
) -> None:
    plant(monkeypatch, error, *DATABASE)
    answer = ada.api.post(f"/auth/{path}", **FORMATS[kind](fields(ada)))
    assert answer.status_code == 500
    secrets.assert_not_in(mailed())
    secrets.assert_not_in(report(raised))


class Own(SafeExceptionReporterFilter):
    """A filter of the project, which hides more settings."""

    cleansed_substitute = "(cleansed by the project)"


def test_a_filter_of_the_project_still_filters(
    ada: Login, secrets: Secrets, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.views import debug

    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = "tests.test_error_mails.Own"
    debug.get_default_exception_reporter_filter.cache_clear()
    plant(monkeypatch, RuntimeError, (sessions, "end"))
    try:
        ada.api.post("/api/logout/", {"refresh": ada.refresh_token})
        secrets.assert_not_in(mailed())
        assert Own.cleansed_substitute in mailed()
    finally:
        debug.get_default_exception_reporter_filter.cache_clear()


def test_while_debugging_the_page_shows_variables_as_django_does(
    ada: Login, settings: Any, raised: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    plant(monkeypatch, RuntimeError, (sessions, "end"))
    ada.api.post("/api/logout/", {"refresh": ada.refresh_token})
    request, info = raised[-1]
    text = ExceptionReporter(request, *info).get_traceback_text()
    assert ada.refresh_token in text


def test_no_log_record_of_a_login_and_a_logout_has_a_secret(
    ada: Login, secrets: Secrets, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from datetime import timedelta

    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    caplog.set_level("DEBUG")
    made = ada.api.post("/api/token/", {"username": "ada", "password": SECRET}).json()
    ada.api.post("/api/token/", {"username": "ada", "password": SECRET + "?"})
    secrets.update(made.values(), ada.refresh().json().values())
    for path, field in (("refresh", "refresh"), ("verify", "token"), ("blacklist", "refresh")):
        for raw in (ada.refresh_token, made["refresh"] + "x"):
            ada.api.post(f"/api/token/{path}/", {field: raw})
    ada.logout()
    assert "reused" in caplog.text
    secrets.assert_not_in(caplog.text)
