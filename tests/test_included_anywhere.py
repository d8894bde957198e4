"""The endpoints in projects that are not ours: their keys, prefixes, rates, cookies and clients."""

import encodings.aliases
import json
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import AbstractUser
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import UnreadablePostError
from django.test import Client
from django.urls import include, path
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.settings import api_settings as rest_framework
from rest_framework.test import APIClient
from rest_framework.throttling import AnonRateThrottle, ScopedRateThrottle
from rest_framework.versioning import NamespaceVersioning, URLPathVersioning
from rest_framework.views import exception_handler
from rest_framework_simplejwt import state
from rest_framework_simplejwt import tokens as simplejwts
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import clock, sessions
from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.api.serializers import TokenRefreshSerializer
from tokens.api.views import SessionListView, TokenView
from tokens.jwt import AccessToken, AnyToken, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession
from tokens.origin import ip_address

from .conftest import PASSWORD, Login, bearer
from .forge import sign, signed

pytestmark = pytest.mark.django_db(transaction=True)

tokens_urls = include("tokens.urls")
urlpatterns = [
    path("text/<str:version>/", tokens_urls),
    path("number/<int:shop>/", tokens_urls),
    path("two/<slug:tenant>/<int:year>/", tokens_urls),
    path("sid/<str:sid>/", tokens_urls),
    path("named/v1/", include(("tokens.urls", "auth"), namespace="v1")),
    path("plain/", tokens_urls),
]
PREFIXES = ["text/v1", "number/7", "two/shop/2030", "sid/x", "named/v1", "plain"]


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


# Logging out by whatever is good


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


TEXT = ["number", "fraction", "undefined", *list(useless())[-8:]]


@pytest.mark.parametrize("name", useless())
def test_a_good_header_counts_if_the_body_is_of_no_use(ada: Login, name: str) -> None:
    answer = ada.api.post(
        "/api/logout/",
        json.dumps({"refresh": useless()[name]}),
        content_type="application/json",
        **bearer(ada.access),
    )
    assert answer.status_code == 204
    assert ada.me().status_code == ada.refresh().status_code == 401


@pytest.mark.parametrize("name", useless())
@pytest.mark.parametrize("header", ["none", "other scheme", "forged"])
def test_without_a_good_header_a_useless_token_is_refused(
    ada: Login, name: str, header: str
) -> None:
    headers: dict[str, Any] = {
        "none": {},
        "other scheme": {"HTTP_AUTHORIZATION": "Basic YTpi"},
        "forged": bearer(useless()["forged"]),
    }[header]
    body = json.dumps({"refresh": useless()[name]})
    answer = ada.api.post("/api/logout/", body, content_type="application/json", **headers)
    text = name in TEXT or header == "forged"
    assert answer.status_code == (401 if text else 400)
    assert shape(answer) == {"detail", "code"}
    assert ada.me().status_code == 200


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


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_good_header_counts_whatever_the_body(ada: Login, body: dict[str, Any]) -> None:
    answer = ada.api.post("/api/logout/", **body)
    assert answer.status_code in (400, 415)
    assert shape(answer) == {"detail", "code"}
    answer = ada.api.post("/api/logout/", **body, **bearer(useless()["forged"]))
    assert answer.status_code == 401
    assert ada.me().status_code == 200
    assert ada.api.post("/api/logout/", **body, **bearer(ada.access)).status_code == 204
    assert ada.me().status_code == ada.refresh().status_code == 401


def test_a_usable_token_in_the_body_wins(ada: Login, user: AbstractUser) -> None:
    other = Login(user)
    for header in (other.access, useless()["forged"]):
        answer = ada.api.post("/api/logout/", {"refresh": ada.refresh_token}, **bearer(header))
        assert answer.status_code == 204
    assert ada.me().status_code == 401
    assert other.me().status_code == 200


def test_an_expired_header_counts_too(ada: Login) -> None:
    payload = AccessToken(ada.access).payload | {"exp": clock.to_epoch(clock.now()) - 9999}
    answer = ada.api.post("/api/logout/", {"refresh": "x"}, **bearer(sign(payload)))
    assert answer.status_code == 204
    assert ada.refresh().status_code == 401


def test_the_database_is_asked_three_times_at_most_to_log_out_by_the_header(
    ada: Login, statements: Callable[[], Any]
) -> None:
    with statements() as ran:
        answer = ada.api.post("/api/logout/", {"refresh": "x"}, **bearer(ada.access))
    assert (answer.status_code, len(ran)) == (204, 3), ran


# The project's own keys and types

KEYS = {name: f"{name} key of the project " * 3 for name in ("old", "new", "refresh")}


class Keys(TokenBackend):
    """Several keys: the first one signs, and all of them are good."""

    def __init__(self, *keys: str, **options: Any) -> None:
        super().__init__("HS256", keys[0], **options)
        self.all = [TokenBackend("HS256", key, **options) for key in keys]

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:  # noqa: FBT002
        for one in self.all[:-1]:
            try:
                return one.decode(token, verify=True)
            except TokenBackendError as error:
                if "expired" in str(error):
                    if verify:
                        raise
                    return one.decode(token, verify=False)
        return self.all[-1].decode(token, verify)


class Delegating(TokenBackend):
    """Leaves all decoding to another backend."""

    other: Any = None

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:  # noqa: FBT002
        payload: dict[str, Any] = self.other.decode(token, verify)
        return payload


def everywhere(monkeypatch: pytest.MonkeyPatch, backend: TokenBackend) -> None:
    monkeypatch.setattr(state, "token_backend", backend)
    monkeypatch.setattr(simplejwts.Token, "_token_backend", None)


def delegating(other: Any) -> TokenBackend:
    backend = Delegating("HS256", KEYS["new"])
    backend.other = other
    return backend


def old_and_expired(token: Any, key: str) -> str:
    now = clock.to_epoch(clock.now())
    return jwt.encode({**token.payload, "exp": now - 60}, key, "HS256")


@pytest.mark.parametrize("by", ["body", "header"])
@pytest.mark.parametrize("make", [lambda _: Keys(KEYS["new"], KEYS["old"]), delegating])
@pytest.mark.parametrize("is_expired", [False, True])
def test_a_backend_of_the_project_decodes(
    user: AbstractUser,
    api: APIClient,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Any], TokenBackend],
    by: str,
    is_expired: bool,
) -> None:
    old = TokenBackend("HS256", KEYS["old"])
    everywhere(monkeypatch, old)
    refresh = RefreshToken.for_user(user)
    raw, access = str(refresh), str(refresh.access_token)
    if is_expired:
        raw = old_and_expired(refresh, KEYS["old"])
        access = old_and_expired(refresh.access_token, KEYS["old"])
    everywhere(monkeypatch, make(old))
    good = 401 if is_expired else 200
    assert api.get("/api/me/", **bearer(access)).status_code == good
    for token in (raw, access):
        assert api.post("/api/token/verify/", {"token": token}).status_code == good
    given: dict[str, Any] = {"data": {"refresh": raw}} if by == "body" else bearer(access)
    assert api.post("/api/logout/", **given).status_code == 204
    assert not TokenSession.objects.exists()
    forged = old_and_expired(refresh, "nobody's key " * 4)
    assert api.post("/api/logout/", {"refresh": forged}).status_code == 401


class OwnRefresh(RefreshToken):
    _token_backend = TokenBackend("HS256", KEYS["refresh"])


class ByKeyId(RefreshToken):
    """Chooses the key by the header of the token."""

    def get_token_backend(self) -> Any:
        algorithm = jwt.get_unverified_header(self.token)["alg"] if self.token else "HS256"  # type: ignore[arg-type]
        return TokenBackend(algorithm, KEYS["refresh"])


class OwnRefreshSerializer(TokenRefreshSerializer):
    token_class = OwnRefresh


class ByKeyIdSerializer(TokenRefreshSerializer):
    token_class = ByKeyId


class OwnAccess(AccessToken):
    _token_backend = TokenBackend("HS256", KEYS["old"])


@pytest.mark.parametrize("serializer", [OwnRefreshSerializer, ByKeyIdSerializer])
def test_refresh_tokens_may_have_a_key_of_their_own(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch, serializer: Any
) -> None:
    name = f"tests.test_included_anywhere.{serializer.__name__}"
    monkeypatch.setattr(api_settings, "TOKEN_REFRESH_SERIALIZER", name)
    token = serializer.token_class.for_user(user)
    raw = api.post("/api/token/refresh/", {"refresh": str(token)}).json()["refresh"]
    access = str(token.access_token)
    for text in (raw, access):
        assert api.post("/api/token/verify/", {"token": text}).status_code == 200
    assert AnyToken(raw).claims.sid == token["sid"]
    # The key of one type makes no tokens of another.
    usual, own = sign(token.payload), jwt.encode(token.access_token.payload, KEYS["refresh"])
    for text in (usual, own, "garbage", "a.b.c"):
        assert api.post("/api/token/verify/", {"token": text}).status_code == 401
    assert api.post("/api/logout/", {"refresh": usual}).status_code == 401
    assert api.post("/api/logout/", **bearer(own)).status_code == 401
    assert TokenSession.objects.count() == 1
    late = old_and_expired(token, KEYS["refresh"])
    assert api.post("/api/logout/", {"refresh": late}).status_code == 204
    assert api.post("/api/token/verify/", {"token": raw}).status_code == 401


def test_access_tokens_may_have_a_key_of_their_own(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (OwnAccess, SlidingToken))
    monkeypatch.setattr(RefreshToken, "access_token_class", OwnAccess)
    token = RefreshToken.for_user(user)
    sliding, access = SlidingToken.for_user(user), str(token.access_token)
    for text in (str(token), access, str(sliding)):
        assert api.post("/api/token/verify/", {"token": text}).status_code == 200
    usual = sign(token.access_token.payload)
    assert api.post("/api/token/verify/", {"token": usual}).status_code == 401
    assert api.post("/api/logout/", **bearer(usual)).status_code == 401
    for text in (str(sliding), access):
        assert api.post("/api/logout/", **bearer(text)).status_code == 204
        assert api.post("/api/token/verify/", {"token": text}).status_code == 401
    assert not TokenSession.objects.exists()


def test_tokens_of_other_types_are_verified_with_the_usual_key(
    user: AbstractUser, api: APIClient
) -> None:
    for classes in ((AccessToken,), (OwnAccess, AnyToken), (OwnAccess, simplejwts.UntypedToken)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(api_settings, "AUTH_TOKEN_CLASSES", classes)
            token = signed(token_type="invitation", user_id=str(user.pk))
            assert api.post("/api/token/verify/", {"token": token}).status_code == 200
            forged = sign(AnyToken(token).payload, key=KEYS["old"])
            assert api.post("/api/token/verify/", {"token": forged}).status_code == 401


@pytest.fixture
def no_types(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"TOKEN_TYPE_CLAIM": None}
    for name in ("tokens", "serializers", "authentication"):
        module = __import__(f"rest_framework_simplejwt.{name}", fromlist=["api_settings"])
        monkeypatch.setattr(module.api_settings, "TOKEN_TYPE_CLAIM", None)


@pytest.mark.usefixtures("no_types")
@pytest.mark.parametrize("own_key", [False, True])
def test_tokens_without_a_type_are_verified_and_log_out(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch, own_key: bool
) -> None:
    if own_key:
        name = "tests.test_included_anywhere.OwnRefreshSerializer"
        monkeypatch.setattr(api_settings, "TOKEN_REFRESH_SERIALIZER", name)
    key = KEYS["refresh"] if own_key else None
    for number, late in enumerate([False, True]):
        claims: dict[str, Any] = {"token_type": ..., "jti": f"cognito-{number}"}
        make = expired if late else signed
        access = make(user_id=str(user.pk), **claims)
        body = sign(jwt.decode(access, options={"verify_signature": False}), key=key)
        for raw in (access, body):
            answer = api.post("/api/token/verify/", {"token": raw})
            assert answer.status_code == (401 if late else 200)
        given: dict[str, Any] = {"data": {"refresh": body}} if late else bearer(access)
        assert api.post("/api/logout/", **given).status_code == 204
        assert api.post("/api/token/verify/", {"token": access}).status_code == 401
    assert BlacklistEntry.objects.count() == 2
    assert api.post("/api/logout/", {"refresh": useless()["forged"]}).status_code == 401


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 204),
        ({"aud": ["others", "us"]}, 204),
        ({"iss": "them"}, 401),
        ({"iss": ...}, 401),
        ({"aud": "them"}, 401),
        ({"aud": ...}, 401),
        ({"aud": 5}, 401),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_expired", [False, True])
def test_the_issuer_and_the_audience_count_even_if_the_token_has_expired(
    api: APIClient,
    monkeypatch: pytest.MonkeyPatch,
    claims: dict[str, Any],
    status: int,
    is_expired: bool,
) -> None:
    backend = TokenBackend("HS256", KEYS["new"], issuer="we", audience="us")
    everywhere(monkeypatch, backend)
    now = clock.to_epoch(clock.now())
    payload = {"token_type": "refresh", "jti": "x", "iss": "we", "aud": "us", "iat": now - 99}
    payload |= {"exp": now - 9 if is_expired else now + 99} | claims
    payload = {name: value for name, value in payload.items() if value is not ...}
    raw = sign(payload, key=KEYS["new"])
    assert api.post("/api/logout/", {"refresh": raw}).status_code == status


@pytest.mark.parametrize("exp", [None, "x", [], 1e300, True, -1, 10**30, ...], ids=str)
def test_odd_times_log_nobody_out(api: APIClient, exp: Any) -> None:
    raw = signed(token_type="refresh", exp=exp)
    assert api.post("/api/logout/", {"refresh": raw}).status_code == 401
    assert api.post("/api/logout/", **bearer(signed(exp=exp))).status_code == 401
    assert not BlacklistEntry.objects.exists()


# Any prefix


def call_all(api: APIClient, prefix: str, user: AbstractUser) -> dict[str, int]:
    """Call each endpoint as it should be called, and return the statuses."""
    found: dict[str, int] = {}

    def call(name: str, method: str = "post", status: int = 200, **given: Any) -> Any:
        answer = getattr(api, method)(f"/{prefix}/{name}", **given)
        found[name] = answer.status_code
        assert answer.status_code == status, (name, answer.content)
        return answer

    def log_in() -> tuple[str, str]:
        given = {"username": user.get_username(), "password": PASSWORD}
        made = call("token/", data=given).json()
        return made["refresh"], made["access"]

    refresh, access = log_in()
    refresh = call("token/refresh/", data={"refresh": refresh}).json()["refresh"]
    call("token/verify/", data={"token": access})
    call("token/blacklist/", data={"refresh": refresh})
    refresh, access = log_in()
    call("logout/", status=204, data={"refresh": refresh})
    call("logout/", status=204, **bearer(access))
    refresh, access = log_in()
    other = str(RefreshToken.for_user(user)["sid"])
    rows = call("sessions/?page_size=1", "get", **bearer(access)).json()
    assert rows["count"] == 2
    assert rows["next"].startswith(f"http://testserver/{prefix}/sessions/")
    call(f"sessions/{other}/", "delete", 204, **bearer(access))
    call(f"sessions/{other}/", "delete", 404, **bearer(access))
    call("logout/others/", **bearer(access))
    call("logout/all/", **bearer(access))
    for name in list(found):
        if not name.startswith(f"sessions/{other}"):
            assert api.options(f"/{prefix}/{name}", **bearer(access)).status_code in (200, 401)
    return found


@pytest.mark.urls("tests.test_included_anywhere")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_endpoint_works_under_a_prefix(
    user: AbstractUser, api: APIClient, prefix: str
) -> None:
    from tokens.urls import urlpatterns as ours

    assert len(call_all(api, prefix, user)) == len(ours)


@pytest.mark.urls("tests.test_included_anywhere")
@pytest.mark.parametrize(
    ("versioning", "prefix", "other"),
    [(NamespaceVersioning, "named/v1", None), (URLPathVersioning, "text/v1", "text/v2")],
)
def test_every_endpoint_works_with_versions_in_the_path(
    user: AbstractUser,
    api: APIClient,
    monkeypatch: pytest.MonkeyPatch,
    versioning: Any,
    prefix: str,
    other: str | None,
) -> None:
    monkeypatch.setattr(TokenView, "versioning_class", versioning)
    monkeypatch.setattr(versioning, "allowed_versions", ["v1"])
    call_all(api, prefix, user)
    if other:
        answer = api.post(f"/{other}/logout/")
        assert (answer.status_code, shape(answer)) == (404, {"detail", "code"})


# Rates

LOGOUTS = [
    ("post", "token/blacklist/"),
    ("post", "logout/"),
    ("post", "logout/all/"),
    ("post", "logout/others/"),
    ("delete", "sessions/x/"),
]
SCOPES = {
    "tokens_login": [("post", "token/")],
    "tokens_refresh": [("post", "token/refresh/")],
    "tokens_logout": LOGOUTS,
    "tokens": [("post", "token/verify/"), ("get", "sessions/")],
}


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def give(throttle: Any = ScopedRateThrottle, /, **rates: str | None) -> None:
        monkeypatch.setattr(TokenView, "throttle_classes", [throttle])
        monkeypatch.setattr(throttle, "THROTTLE_RATES", rates)

    return give


def limited(api: APIClient, scope: str) -> bool:
    """Return whether the second request of this scope is one too many."""
    found = set()
    for method, name in SCOPES[scope]:
        cache.clear()
        answers = [getattr(api, method)(f"/api/{name}") for _ in range(2)]
        assert answers[0].status_code in (200, 400, 404)
        found.add(answers[1].status_code == 429)
    (only,) = found
    return only


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, set()),
        ({"uploads": "20/day"}, set()),
        ({"tokens": "1/hour"}, set(SCOPES)),
        ({"tokens_login": "1/hour"}, {"tokens_login"}),
        ({"tokens_refresh": "1/hour"}, {"tokens_refresh"}),
        ({"tokens_logout": "1/hour"}, {"tokens_logout"}),
        ({"tokens_login": "1/hour", "tokens": "9/hour"}, {"tokens_login"}),
        ({"tokens_login": None, "tokens": "1/hour"}, set(SCOPES) - {"tokens_login"}),
        ({"tokens": None}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_each_kind_of_request_has_its_rate_or_that_of_all_or_none(
    user: AbstractUser,
    api: APIClient,
    rates: Callable[..., None],
    given: dict[str, str],
    expected: set[str],
) -> None:
    rates(**given)
    api.force_authenticate(user)
    assert {scope for scope in SCOPES if limited(api, scope)} == expected


def test_each_kind_of_request_is_counted_by_itself(
    ada: Login, api: APIClient, rates: Callable[..., None]
) -> None:
    rates(tokens="5/min")
    wrong = [api.post("/api/token/", {"username": "x", "password": "x"}) for _ in range(6)]
    assert [answer.status_code for answer in wrong] == [401] * 5 + [429]
    assert shape(wrong[-1]) == {"detail", "code"}
    assert ada.refresh().status_code == 200
    assert ada.logout().status_code == 204


class OwnRates(ScopedRateThrottle):
    """Rates from somewhere else."""

    def get_rate(self) -> Any:
        return {"tokens_login": "1/hour"}.get(str(self.scope))


class OwnScopes(ScopedRateThrottle):
    scope_attr = "burst_scope"


class Anonymous(AnonRateThrottle):
    rate = "1/hour"


def test_throttles_of_the_project_stay(
    user: AbstractUser, api: APIClient, rates: Callable[..., None]
) -> None:
    rates(OwnRates)
    assert limited(api, "tokens_login")
    assert not limited(api, "tokens_refresh")
    rates(OwnScopes)
    assert not limited(api, "tokens_login")
    rates(Anonymous)
    assert limited(api, "tokens_login")
    assert limited(api, "tokens_refresh")


class Unscoped(SessionListView):
    throttle_scope = None  # type: ignore[assignment]


def test_a_view_of_the_project_may_have_no_scope(rates: Callable[..., None]) -> None:
    rates(tokens="1/hour")
    (throttle,) = Unscoped().get_throttles()
    assert throttle.allow_request(Request(Client().get("/").wsgi_request), Unscoped())


# The project's own authentication


class Cookies(JWTAuthentication):
    """The usual class for cookies: the header, or else a cookie, and a check against forgeries."""

    def authenticate(self, request: Any) -> Any:
        header = self.get_header(request)
        raw = self.get_raw_token(header) if header else request.COOKIES.get("access", "").encode()
        if not raw:
            return None
        token = self.get_validated_token(raw)
        if header is None and "HTTP_X_CSRF" not in request.META:
            raise PermissionDenied("CSRF")
        return self.get_user(token), token


class CookieAsHeader(JWTAuthentication):
    def get_header(self, request: Any) -> bytes:
        return b"Bearer " + request.COOKIES["access"].encode() if request.COOKIES else b""


class RawCookie(JWTAuthentication):
    request: Any = None

    def get_header(self, request: Any) -> bytes:
        self.request = request
        return b"x"

    def get_raw_token(self, header: bytes) -> bytes | None:
        return self.request.COOKIES.get("access", "").encode() or None


class ByItself(JWTAuthentication):
    """Makes the token by itself."""

    def authenticate(self, request: Any) -> Any:
        if not request.COOKIES:
            return None
        token = AccessToken(request.COOKIES["access"])
        return self.get_user(token), token


class NotBanned(JWTAuthentication):
    def get_user(self, validated_token: Any) -> Any:
        user = super().get_user(validated_token)
        if user.username == "ada":
            raise AuthenticationFailed("banned")
        return user


class LooksAtUser(JWTAuthentication):
    def authenticate(self, request: Any) -> Any:
        found = super().authenticate(request)
        if found and found[0].first_name == "banned":
            raise AuthenticationFailed("banned")
        return found


class Stateless(JWTStatelessUserAuthentication):
    pass


class Other(JWTAuthentication):
    """Finds nothing, ever."""

    def get_header(self, request: Any) -> Any:
        return None


@pytest.fixture
def authenticated_by(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(*classes: type) -> None:
        monkeypatch.setattr(rest_framework, "DEFAULT_AUTHENTICATION_CLASSES", list(classes))

    return use


@pytest.mark.parametrize("kind", [Cookies, CookieAsHeader, RawCookie, ByItself])
def test_cookies_of_the_project_open_the_endpoints(
    user: AbstractUser, ada: Login, authenticated_by: Callable[..., None], kind: type
) -> None:
    authenticated_by(Stateless, Other, kind)
    other = Login(user)
    browser = APIClient(HTTP_X_CSRF="1")
    assert browser.post("/api/logout/").status_code in (400, 401)
    browser.cookies["access"] = ada.access
    assert browser.get("/api/sessions/").json()["count"] == 2
    assert browser.post("/api/logout/others/").json() == {"sessions_ended": 1}
    assert other.me().status_code == 401
    assert browser.post("/api/logout/", {"refresh": ""}).status_code == 204
    if kind is not ByItself:  # whose own check is stricter than logging out
        assert browser.get("/api/sessions/").status_code == 401
        assert browser.post("/api/logout/").status_code == 204
    assert not TokenSession.objects.exists()


def test_what_a_class_of_the_project_demands_is_demanded_to_log_out(
    ada: Login, authenticated_by: Callable[..., None]
) -> None:
    authenticated_by(Cookies)
    browser = APIClient()
    browser.cookies["access"] = ada.access
    for path_ in ("/api/logout/", "/api/logout/all/"):
        answer = browser.post(path_)  # from another site
        assert (answer.status_code, shape(answer)) == (403, {"detail", "code"})
    assert TokenSession.objects.count() == 1
    assert browser.post("/api/logout/", **bearer(ada.access)).status_code == 204


def test_an_expired_cookie_logs_out(ada: Login, authenticated_by: Callable[..., None]) -> None:
    authenticated_by(Cookies)
    browser = APIClient(HTTP_X_CSRF="1")
    payload = AccessToken(ada.access).payload | {"exp": clock.to_epoch(clock.now()) - 9}
    browser.cookies["access"] = sign(payload)
    assert browser.post("/api/logout/").status_code == 204
    assert ada.refresh().status_code == 401


def test_a_class_that_refuses_more_is_asked(
    ada: Login, make_user: Callable[..., AbstractUser], authenticated_by: Callable[..., None]
) -> None:
    authenticated_by(NotBanned)
    for method, name in [("get", "sessions/"), *LOGOUTS[2:]]:
        answer = getattr(ada.api, method)(f"/api/{name}", **bearer(ada.access))
        assert answer.status_code == 401
    assert TokenSession.objects.count() == 1
    bob = Login(make_user("bob"))
    assert bob.api.get("/api/sessions/", **bearer(bob.access)).status_code == 200
    assert ada.api.post("/api/logout/", **bearer(ada.access)).status_code == 204  # may leave


def test_a_class_that_looks_at_the_user_may(
    ada: Login, authenticated_by: Callable[..., None]
) -> None:
    authenticated_by(LooksAtUser)
    assert ada.api.get("/api/sessions/", **bearer(ada.access)).status_code == 200
    assert ada.api.post("/api/logout/", **bearer(ada.access)).status_code == 204
    assert not TokenSession.objects.exists()


@pytest.mark.parametrize("classes", [[], [Stateless], [JWTStatelessUserAuthentication]])
def test_without_a_class_of_the_project_ours_opens_the_endpoints(
    ada: Login, authenticated_by: Callable[..., None], classes: list[type]
) -> None:
    authenticated_by(*classes)
    assert ada.api.get("/api/sessions/", **bearer(ada.access)).json()["count"] == 1
    assert ada.api.post("/api/logout/", **bearer(ada.access)).status_code == 204


class ForBob(SessionListView):
    authentication_classes = (NotBanned,)  # type: ignore[assignment]


def test_a_view_of_the_project_may_name_its_classes() -> None:
    (only,) = ForBob().get_authenticators()
    assert type(only) is NotBanned


# Whatever clients send

CODECS = sorted(
    {*encodings.aliases.aliases, *encodings.aliases.aliases.values()}
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
POSTS = ["token/", "token/refresh/", "token/verify/", "token/blacklist/", "logout/"]


# The endpoints read bodies by the same code, so one of them meets all codecs.
ODD_CODECS = ["punycode", "idna", "undefined", "unicode_escape", "base64", "rot13", "klingon", ""]


@pytest.mark.any_database
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", POSTS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of unicode_escape
def test_no_charset_gives_a_500(name: str, kind: str) -> None:
    api = APIClient(raise_request_exception=False)
    content_type, body = KINDS[kind]
    assert {"punycode", "idna", "undefined", "unicode_escape", "mbcs", "zlib_codec"} < set(CODECS)
    for codec in CODECS if name == "token/refresh/" else ODD_CODECS:
        answer = api.generic("POST", f"/api/{name}", body, f"{content_type}; charset={codec}")
        assert answer.status_code in (400, 401, 415), codec
        assert shape(answer) == {"detail", "code"}, codec


@pytest.mark.parametrize("name", ["logout/all/", "logout/others/"])
def test_bodies_that_nobody_reads_may_be_anything(ada: Login, name: str) -> None:
    answer = ada.api.post(f"/api/{name}", **ODD_BODIES["punycode"], **bearer(ada.access))
    assert answer.status_code == 200


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


@pytest.mark.parametrize("error", [LookupError, UnicodeError, RecursionError, ValueError])
def test_the_same_errors_in_our_own_code_are_no_fault_of_the_client(
    ada: Login, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    ada.api.raise_request_exception = False
    monkeypatch.setattr(sessions, "end", fail)
    assert ada.logout().status_code == 500


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


@pytest.mark.parametrize("charset", ["zlib", "rot13", "base64", "bz2", "undefined", "punycode"])
def test_parsers_of_the_project_get_text_only(
    monkeypatch: pytest.MonkeyPatch, charset: str
) -> None:
    monkeypatch.setattr(TokenView, "parser_classes", [Zlib])
    api = APIClient(raise_request_exception=False)
    answer = api.generic("POST", "/api/logout/", b"{}x", f"application/json; charset={charset}")
    assert (answer.status_code, shape(answer)) == (400, {"detail", "code"})


def test_a_body_that_breaks_off_is_no_500(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: Any) -> bytes:
        raise UnreadablePostError("the client went away")

    monkeypatch.setattr("django.core.handlers.wsgi.WSGIRequest.read", read)
    api = APIClient(raise_request_exception=False)
    answer = api.post("/api/logout/", {"refresh": "x"}, format="json")
    assert (answer.status_code, shape(answer)) == (400, {"detail", "code"})


@pytest.mark.parametrize("name", POSTS)
def test_a_large_body_is_answered_like_any_other(name: str) -> None:
    for kind in ("large", "many fields"):
        answer = APIClient().post(f"/api/{name}", **ODD_BODIES[kind])
        assert (answer.status_code, shape(answer)) == (400, {"detail", "code"})


def reads_data(error: Exception, context: dict[str, Any]) -> Any:
    """An exception handler of the project, which logs what was sent."""
    assert not context["request"].data
    return exception_handler(error, context)


@pytest.mark.parametrize("name", ["large", "many fields", "deep", "punycode", "no text"])
def test_an_exception_handler_may_look_at_an_unreadable_body(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(rest_framework, "EXCEPTION_HANDLER", reads_data)
    answer = APIClient().post("/api/token/refresh/", **ODD_BODIES[name])
    assert (answer.status_code, shape(answer)) == (400, {"detail", "code"})


HUGE = [2**63, -(2**63) - 1, 10**23, 10**400, "9" * 5000, "1e400", "nan"]


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


# Addresses

ADDRESSES = {
    "203.0.113.9": "203.0.113.9",
    "203.0.113.9:51234": "203.0.113.9",
    "203.0.113.9:": "203.0.113.9",
    " \t203.0.113.9 ": "203.0.113.9",
    '"203.0.113.9:51234"': "203.0.113.9",
    "2001:DB8:0:0::1": "2001:db8::1",
    "[2001:db8::1]": "2001:db8::1",
    "[2001:db8::1]:443": "2001:db8::1",
    ' "[2001:db8::1]:443" ': "2001:db8::1",
    '" 2001:db8::1 "': "2001:db8::1",
    "2001:db8::1:443": "2001:db8::1:443",  # a port can't be told apart
    "fe80::1%eth0": "fe80::1",
    "[fe80::1%25eth0]:80": "fe80::1",
    "fe80::1%" + "a" * 300: "fe80::1",
    "[fe80::1%" + "é\0" * 300 + "]:1": "fe80::1",
    "fe80::1%": "fe80::1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "::FFFF:C000:0201": "192.0.2.1",
    "[::ffff:192.0.2.1]:8080": "192.0.2.1",
    "::ffff:192.0.2.1%eth0": "192.0.2.1",
    "1111:2222:3333:4444:5555:6666:7777:8888": "1111:2222:3333:4444:5555:6666:7777:8888",
    "::": "::",
    "": None,
    "unknown": None,
    "_hidden": None,
    ":443": None,
    "[]": None,
    "[]:443": None,
    "[203.0.113.9": None,
    "203.0.113.9:http": None,
    "203.0.113.9%eth0": None,
    "203.0.113.09": None,
    "203.0.113.256": None,
    "3405803785": None,
    "[[2001:db8::1]]:443": None,
    "2001:db8::1]:443": None,
    "for=203.0.113.9": None,
    "203.0.113.9\0": None,
    "٢٠٣.0.113.9": None,
    "é" * 5000: None,
    "%": None,
    '"': None,
}


@pytest.mark.any_database
@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=lambda text: str(text)[:20])
def test_an_address_is_read_without_port_and_zone(text: str, address: str | None) -> None:
    assert ip_address(text) == address


@pytest.mark.parametrize("how", ["peer", "proxy"])
def test_no_address_refuses_a_login(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(rest_framework, "NUM_PROXIES", 1 if how == "proxy" else 0)
    for text, address in ADDRESSES.items():
        header = {"HTTP_X_FORWARDED_FOR": f"198.51.100.1, {text}"}
        answer = api.post(
            "/api/token/",
            {"username": "ada", "password": PASSWORD},
            **(header if how == "proxy" else {"REMOTE_ADDR": text}),
        )
        assert answer.status_code == 200, text
        session = TokenSession.objects.latest("sid")
        assert session.ip_address == address, text
        refreshed = api.post("/api/token/refresh/", {"refresh": answer.json()["refresh"]})
        assert refreshed.status_code == 200
        session.delete()


def test_a_peer_without_an_address_logs_in(user: AbstractUser, api: APIClient) -> None:
    form = {"username": "ada", "password": PASSWORD}
    assert api.post("/api/token/", form, REMOTE_ADDR=None).status_code == 200
    assert TokenSession.objects.get().ip_address is None


@pytest.mark.parametrize(
    "term", ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1:443", "[::ffff:192.0.2.1]:1", " 192.0.2.1"]
)
def test_the_admin_finds_an_address_in_any_notation(
    user: AbstractUser, staff: Callable[..., Client], term: str
) -> None:
    APIClient().post(
        "/api/token/",
        {"username": "ada", "password": PASSWORD},
        REMOTE_ADDR="::ffff:192.0.2.1",
    )
    answer = staff(is_superuser=True).get("/admin/tokens/tokensession/", {"q": term})
    assert [row.ip_address for row in answer.context["cl"].result_list] == ["192.0.2.1"]


# What the description of the endpoints says


@pytest.mark.any_database
def test_the_description_has_every_answer() -> None:
    from drf_spectacular.generators import SchemaGenerator

    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    found = {
        f"{method} {url.removeprefix('/api/')}": set(one["responses"])
        for url, methods in paths.items()
        for method, one in methods.items()
    }
    assert found["get me/"] == {"200", "401", "503"}
    usual = {"400", "401", "429", "503"}
    assert found["get sessions/"] == usual | {"200", "404"}
    assert found["delete sessions/{sid}/"] == usual | {"204", "404"}
    for name in ("logout/all/", "logout/others/"):
        assert found[f"post {name}"] == usual | {"200"}
    for name in POSTS:
        assert found[f"post {name}"] == usual | {"415", "204" if name == "logout/" else "200"}


# Several databases


class NoRelations:
    """A router that knows where to read and write, and nothing about relations."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "default"

    db_for_write = db_for_read

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return False


def test_a_router_that_allows_no_relation_is_no_obstacle(
    user: AbstractUser, ada: Login, settings: Any, staff: Callable[..., Client], api: APIClient
) -> None:
    client = staff(is_superuser=True)
    plain = str(PlainRefreshToken.for_user(user))
    settings.DATABASE_ROUTERS = ["tests.test_included_anywhere.NoRelations"]
    assert ada.api.get("/api/sessions/", **bearer(ada.access)).json()["count"] == 1
    for name in ("tokensession", "blacklistentry"):
        assert client.get(f"/admin/tokens/{name}/", {"q": "ada"}).status_code == 200
    assert api.post("/api/logout/", {"refresh": plain}).status_code == 204
    assert ada.logout().status_code == 204
    page = client.get("/admin/tokens/blacklistentry/", {"status": "in_force"})
    assert page.text.count(">ada</a>") == 2
