"""The project's own keys and types of tokens."""

from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import AbstractUser
from rest_framework.test import APIClient
from rest_framework_simplejwt import state
from rest_framework_simplejwt import tokens as simplejwts
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError
from rest_framework_simplejwt.settings import api_settings

from tokens import clock
from tokens.api.serializers import TokenRefreshSerializer
from tokens.jwt import AccessToken, AnyToken, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import bearer
from .forge import sign, signed
from .including import expired, useless
from .including import no_rates as no_rates

pytestmark = pytest.mark.django_db(transaction=True)

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


@pytest.mark.any_database
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


@pytest.mark.any_database
@pytest.mark.parametrize("serializer", [OwnRefreshSerializer, ByKeyIdSerializer])
def test_refresh_tokens_may_have_a_key_of_their_own(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch, serializer: Any
) -> None:
    name = f"tests.test_own_keys.{serializer.__name__}"
    monkeypatch.setattr(api_settings, "TOKEN_REFRESH_SERIALIZER", name)
    token = serializer.token_class.for_user(user)
    raw = api.post("/api/token/refresh/", {"refresh": str(token)}).json()["refresh"]
    access = str(token.access_token)
    for text in (raw, access):
        assert api.post("/api/token/verify/", {"token": text}).status_code == 200
    assert AnyToken(raw).claims.sid == token["sid"]
    # The key of one type makes no tokens of another.
    usual, own = sign(token.payload), jwt.encode(token.access_token.payload, KEYS["refresh"])
    odd = {"exp": "tomorrow"}
    usual_odd = sign(token.payload | odd)
    own_odd = jwt.encode(token.access_token.payload | odd, KEYS["refresh"])
    for text in (usual, own, usual_odd, own_odd, "garbage", "a.b.c"):
        answer = api.post("/api/token/verify/", {"token": text})
        assert answer.status_code == 401
        assert "reason" not in answer.json()
    for text in (
        sign(token.access_token.payload | odd),
        sign(token.payload | odd, key=KEYS["refresh"]),
    ):
        answer = api.post("/api/token/verify/", {"token": text})
        assert (answer.status_code, answer.json()["reason"]) == (401, "malformed")
    assert api.post("/api/logout/", {"refresh": usual}).status_code == 401
    assert api.post("/api/logout/", **bearer(own)).status_code == 401
    assert TokenSession.objects.count() == 1
    late = old_and_expired(token, KEYS["refresh"])
    assert api.post("/api/logout/", {"refresh": late}).status_code == 204
    assert api.post("/api/token/verify/", {"token": raw}).status_code == 401


@pytest.mark.any_database
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


@pytest.mark.any_database
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


@pytest.mark.any_database
@pytest.mark.usefixtures("no_types")
@pytest.mark.parametrize("own_key", [False, True])
def test_tokens_without_a_type_are_verified_and_log_out(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch, own_key: bool
) -> None:
    if own_key:
        name = "tests.test_own_keys.OwnRefreshSerializer"
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


@pytest.mark.any_database
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
