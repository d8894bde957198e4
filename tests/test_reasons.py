"""The holder of a refused token hears why, and nobody else does."""

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.utils import translation
from rest_framework.exceptions import APIException
from rest_framework.test import APIClient
from rest_framework.views import exception_handler
from rest_framework_simplejwt import tokens as simplejwts
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings

from project.settings import BASE_DIR
from tokens import clock, databases, mass_logout, sessions
from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.api.serializers import TokenRefreshSerializer
from tokens.exceptions import ClientReason, TokenRevoked
from tokens.jwt import AccessToken, AnyToken, RefreshToken, SlidingToken, client_reason
from tokens.models import BlacklistEntry, TokenSession
from tokens.sessions import Reason

from .conftest import DAY, PASSWORD, SECOND, Login, bearer
from .forge import JTI, sign, signed
from .snippets import HOWTO, snippet
from .test_authentication import authenticate

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()

NONE = "no reason"


def reason_in(answer: Any) -> str:
    """Return the reason in a 401 whose other keys are simplejwt's."""
    assert answer.status_code == 401, answer.content
    body = answer.json()
    assert set(body) - {"messages", "reason"} == {"detail", "code"}
    return str(body.get("reason", NONE))


def post(path: str, **body: object) -> str:
    return reason_in(APIClient().post(f"/api/{path}", {k: str(v) for k, v in body.items()}))


def stateless(access: object) -> str:
    with pytest.raises(APIException) as refusal:
        authenticate(JWTStatelessUserAuthentication, access)
    detail: Any = refusal.value.detail
    return str(detail.get("reason", NONE))


def of_access(access: object) -> dict[str, str]:
    """Return what the holder of an access token hears at each door."""
    return {
        "request": reason_in(APIClient().get("/api/me/", **bearer(access))),
        "sessions/": reason_in(APIClient().get("/api/sessions/", **bearer(access))),
        "verify/": post("token/verify/", token=access),
    }


def of_refresh(refresh: object) -> dict[str, str]:
    """Return what the holder of a refresh token hears at each door."""
    return {
        "verify/": post("token/verify/", token=refresh),
        "refresh/": post("token/refresh/", refresh=refresh),
    }


def heard(login: Login) -> set[str]:
    doors = {**of_access(login.access), **of_refresh(login.refresh_token)}
    return {*doors.values(), stateless(login.access)}


def expired(token: Any) -> str:
    token.set_exp(lifetime=-DAY)
    return sign(token.payload)


def steal(login: Login, settings: Any) -> None:
    """Let a thief and the owner use the same refresh token, one after the other."""
    settings.TOKENS_ROTATION_GRACE = 0 * SECOND
    assert login.refresh().status_code == 200
    assert reason_in(login.refresh()) == "reused"


def deactivate(login: Login) -> None:
    user = user_of(login)
    user.is_active = False
    user.save()


def change_password(login: Login) -> None:
    user = user_of(login)
    user.set_password("another password")
    user.save()


def user_of(login: Login) -> AbstractUser:
    return User.objects.get(username="ada")


def log_in_once_more(login: Login, settings: Any) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = 1
    Login(user_of(login))


def end_in_admin(login: Login) -> None:
    sessions.end_all(user_of(login), reason=Reason.ADMIN)


def revoke_by_command(login: Login) -> None:
    sid = RefreshToken(login.refresh_token)["sid"]
    call_command("revoke_tokens", "--session", sid, "--no-input", verbosity=0)


ENDINGS: dict[str, tuple[Callable[..., Any], str]] = {
    "logout": (lambda login, _: login.logout(), "revoked"),
    "everywhere": (lambda login, _: sessions.end_all(user_of(login)), "revoked"),
    "admin": (lambda login, _: end_in_admin(login), "revoked"),
    "command": (lambda login, _: revoke_by_command(login), "revoked"),
    "deactivated": (lambda login, _: deactivate(login), "revoked"),
    "deleted": (lambda login, _: user_of(login).delete(), "revoked"),
    "limit": (log_in_once_more, "ended_by_limit"),
    "password": (lambda login, _: change_password(login), "password_changed"),
    "reuse": (steal, "reused"),
    "deactivated unseen": (lambda _login, _: User.objects.update(is_active=False), "revoked"),
    "deleted unseen": (lambda _login, _: User.objects.all()._raw_delete("default"), "revoked"),
}
UNSEEN = ("deactivated unseen", "deleted unseen")  # stateless requests don't see it either


@pytest.mark.parametrize(
    "max_age", [0, pytest.param(60, marks=pytest.mark.any_database)], ids=["strict", "cached"]
)
@pytest.mark.parametrize("how", ENDINGS)
def test_every_door_says_why_the_session_ended(
    how: str, max_age: int, user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_CHECK_MAX_AGE = max_age * SECOND
    login = Login(user)
    end, why = ENDINGS[how]
    end(login, settings)
    if how in UNSEEN:
        doors = {**of_refresh(login.refresh_token), "request": of_access_alone(login)}
        assert set(doors.values()) == {why}
    else:
        assert heard(login) == {why}


def of_access_alone(login: Login) -> str:
    return reason_in(login.me())


@pytest.mark.any_database
def test_thief_and_victim_hear_the_same(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = 0 * SECOND
    victim = Login(user)
    thief = victim.refresh().json()
    assert reason_in(victim.refresh()) == "reused"
    assert set(of_access(thief["access"]).values()) == {"reused"}
    assert set(of_refresh(thief["refresh"]).values()) == {"reused"}


@pytest.mark.any_database
def test_the_first_reason_counts(user: AbstractUser) -> None:
    login = Login(user)
    change_password(login)
    login.logout()
    sessions.end_all(user, reason=Reason.COMMAND)
    assert heard(login) == {"password_changed"}


@pytest.mark.any_database
def test_a_used_refresh_token_is_reused_even_for_whom_only_asks(
    user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = 0 * SECOND
    login = Login(user)
    login.refresh()
    assert post("token/verify/", token=login.refresh_token) == "reused"
    assert TokenSession.objects.count() == 1


@pytest.mark.any_database
@pytest.mark.parametrize("how", ["unseen change", "claim"])
def test_another_password_is_named_wherever_it_shows(
    how: str, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "claim":
        for one in (api_settings, simplejwts.api_settings):
            monkeypatch.setattr(one, "CHECK_REVOKE_TOKEN", True)
    login, plain = Login(user), simplejwts.RefreshToken.for_user(user)
    User.objects.update(password="md5$x$y")
    assert set(of_refresh(login.refresh_token).values()) == {"password_changed"}
    if how == "claim":
        assert set(of_access(plain.access_token).values()) == {"password_changed"}
        assert set(of_refresh(plain).values()) == {"password_changed"}


@pytest.mark.any_database
@pytest.mark.parametrize("rotate", [True, False])
def test_expired_comes_first_for_access_tokens_and_last_for_refresh_tokens(
    rotate: bool, user: AbstractUser, settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotate}
    login = Login(user)
    access = expired(AccessToken(login.access))
    refresh = expired(RefreshToken(login.refresh_token))
    for reason_of_refresh in ("expired", "ended_by_limit"):
        assert {*of_access(access).values(), stateless(access)} == {"expired"}
        assert post("token/refresh/", refresh=access) == "expired"
        assert set(of_refresh(refresh).values()) == {reason_of_refresh}
        assert post("token/blacklist/", refresh=refresh) == reason_of_refresh
        assert reason_in(APIClient().get("/api/me/", **bearer(refresh))) == reason_of_refresh
        log_in_once_more(login, settings)


PLAIN: dict[str, tuple[Callable[..., Any], str]] = {
    "everywhere": ENDINGS["everywhere"],
    "password": ENDINGS["password"],
    "deleted": ENDINGS["deleted"],
    "deactivated": ENDINGS["deactivated"],
}


@pytest.mark.parametrize("how", PLAIN)
def test_a_token_without_a_session_hears_it_too(how: str, user: AbstractUser) -> None:
    """Also if the entry of its user was written before, for another reason."""
    sessions.end_all(user, reason=Reason.COMMAND if how == "password" else Reason.PASSWORD_CHANGE)
    BlacklistEntry.objects.update(issued_before=clock.now() - DAY)
    plain = simplejwts.RefreshToken.for_user(user)
    access = plain.access_token
    end, why = PLAIN[how]
    end(Login(user), None)
    doors = {**of_refresh(plain), **of_access(access)}
    assert set(doors.values()) == {why}
    assert BlacklistEntry.objects.filter(scope="user").count() == 1


def test_ending_everybody_gives_the_entries_of_users_its_reason(user: AbstractUser) -> None:
    sessions.end_all(user, reason=Reason.PASSWORD_CHANGE)
    mass_logout.end_everybody(reason=Reason.COMMAND)
    assert BlacklistEntry.objects.get().reason == Reason.COMMAND


@pytest.mark.any_database
def test_a_used_up_token_without_a_session_is_reused(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = 0 * SECOND
    plain = simplejwts.RefreshToken.for_user(user)
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(plain)}).json()
    assert of_refresh(plain) == {"verify/": "reused", "refresh/": "reused"}
    assert set(of_refresh(answer["refresh"]).values()) == {"reused"}


@pytest.mark.any_database
def test_why_the_session_that_continues_a_token_ended_counts_more_than_its_use(
    user: AbstractUser, settings: Any
) -> None:
    plain = simplejwts.RefreshToken.for_user(user)
    assert APIClient().post("/api/token/refresh/", {"refresh": str(plain)}).status_code == 200
    settings.TOKENS_MAX_SESSIONS_PER_USER = 1
    Login(user)
    assert set(of_refresh(plain).values()) == {"ended_by_limit"}


ODD: dict[str, dict[str, Any]] = {
    "jti": {"jti": 5},
    "no jti": {"jti": ...},
    "iat": {"iat": []},
    "user": {"user_id": {}},
    "no user": {"user_id": ...},
    "exp is text": {"exp": "tomorrow"},
    "no exp": {"exp": ...},
    "exp is huge": {"exp": 1e300},
    "exp is infinite": {"exp": float("inf")},
    "not valid yet": {"nbf": 9_999_999_999},
    "from the future": {"iat": 9_999_999_999, "exp": 99_999_999_999},
    "no type": {"token_type": ...},
    "another type": {"token_type": "invoice"},
    "no age": {"iat": ...},
}


@pytest.mark.any_database
@pytest.mark.parametrize("name", ODD)
def test_a_signed_token_with_an_odd_claim_is_malformed(name: str, user: AbstractUser) -> None:
    token = signed(**{"user_id": str(user.pk)} | ODD[name])
    assert reason_in(APIClient().get("/api/me/", **bearer(token))) == "malformed"
    assert stateless(token) == "malformed"
    if name == "another type":
        token = signed(token_type="invoice", iat=[])
    if name != "no user":  # nobody's token may be good
        assert post("token/verify/", token=token) == "malformed"
    if name != "no age":
        assert post("token/refresh/", refresh=token) == "malformed"
        assert post("token/blacklist/", refresh=token) == "malformed"
        assert post("logout/", refresh=token) == "malformed"
        if name not in ("no user", "not valid yet"):
            answer = APIClient().post("/api/logout/", **bearer(token))
            assert reason_in(answer) == "malformed"


@pytest.mark.any_database
def test_a_token_of_the_wrong_type_is_malformed_there_and_good_elsewhere(
    user: AbstractUser,
) -> None:
    login = Login(user)
    for path in ("token/refresh/", "token/blacklist/", "logout/"):
        assert post(path, refresh=login.access) == "malformed"
    answer = login.me(login.refresh_token)
    assert reason_in(answer) == "malformed"
    assert set(answer.json()) == {"detail", "code", "messages", "reason"}
    assert login.me().status_code == login.refresh().status_code == 200


def forgeries(user: AbstractUser) -> dict[str, Any]:
    good = RefreshToken.for_user(user)
    revoked = RefreshToken.for_user(user)
    revoked.blacklist()
    expired_payload = revoked.payload | {"exp": 5}
    key = "another key " * 4
    head, body, _ = str(revoked).split(".")
    found: dict[str, Any] = {
        "garbage": "garbage",
        "three parts": "a.b.c",
        "cut off": str(revoked)[:-10],
        "empty signature": f"{head}.{body}.",
        "another key": sign(revoked.payload, key=key),
        "another key, expired": sign(expired_payload, key=key),
        "another key, odd": sign(good.payload | {"exp": "tomorrow"}, key=key),
        "unsigned": sign(revoked.payload, algorithm="none"),
        "unsigned, expired": sign(expired_payload, algorithm="none"),
        "another algorithm": sign(revoked.payload, key=None, algorithm="HS384"),
        "another algorithm, odd": sign(good.payload | {"exp": []}, algorithm="HS384"),
        "too long": sign(revoked.payload | {"more": "x" * 9000}),
        "no object": sign([revoked.payload]),
    }
    return found


@pytest.mark.any_database
def test_a_forged_token_hears_nothing_at_any_door(user: AbstractUser) -> None:
    for name, token in forgeries(user).items():
        doors = {**of_access(token), **of_refresh(token), "stateless": stateless(token)}
        doors["blacklist"] = post("token/blacklist/", refresh=token)
        doors["logout"] = post("logout/", refresh=token)
        doors["header"] = reason_in(APIClient().post("/api/logout/", **bearer(token)))
        assert set(doors.values()) == {NONE}, (name, doors)


@pytest.mark.any_database
@pytest.mark.parametrize("claim", ["iss", "aud"])
@pytest.mark.parametrize("payload", [{}, {"exp": 5}, {"exp": "tomorrow"}], ids=str)
def test_a_token_for_somebody_else_hears_nothing(
    claim: str, payload: Any, user: AbstractUser, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = RefreshToken.for_user(user).access_token
    backend = access.get_token_backend()
    monkeypatch.setattr(backend, "issuer", "us")
    monkeypatch.setattr(backend, "audience", "them")
    ours = access.payload | {"iss": "us", "aud": "them"} | payload
    theirs = ours | {claim: "somebody else"}
    access.blacklist()
    for token, reasons in ((ours, {"revoked", "expired", "malformed"}), (theirs, {NONE})):
        assert post("token/verify/", token=sign(token)) in reasons
        assert reason_in(APIClient().get("/api/me/", **bearer(sign(token)))) in reasons


@pytest.mark.any_database
def test_what_is_no_token_hears_nothing(user: AbstractUser) -> None:
    wrong = {"username": "ada", "password": "wrong"}
    assert reason_in(APIClient().post("/api/token/", wrong)) == NONE
    assert reason_in(APIClient().get("/api/sessions/")) == NONE
    assert reason_in(APIClient().get("/api/me/", HTTP_AUTHORIZATION="Bearer a b")) == NONE


# Sliding tokens, and simplejwt's own views


@pytest.fixture
def sliding(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(api_settings, "AUTH_TOKEN_CLASSES", (SlidingToken,))
    settings.ROOT_URLCONF = "tests.simplejwt_urls"
    del settings.TOKENS_PATCH_SIMPLEJWT


def extend(token: object) -> str:
    return reason_in(APIClient().post("/auth/sliding/refresh/", {"token": str(token)}))


@pytest.mark.any_database
@pytest.mark.usefixtures("sliding", "atomic_requests")
@pytest.mark.parametrize("how", ["revoked", "password_changed", "expired", "limit", "no limit"])
def test_sliding_tokens_hear_it_too(how: str, user: AbstractUser) -> None:
    token = SlidingToken.for_user(user)
    why = how
    if how == "revoked":
        token.blacklist()
    elif how == "password_changed":
        user.set_password("another password")
        user.save()
    elif how == "expired":
        token.set_exp(lifetime=-DAY)
    elif how == "limit":
        token.set_exp("refresh_exp", lifetime=-DAY)
        why = "expired"
    else:
        del token["refresh_exp"]
        why = "malformed"
    assert extend(token) == why
    answer = APIClient().get("/me/", **bearer(token))
    if "limit" in how:
        assert answer.status_code == 200
    else:
        assert reason_in(answer) == why


@pytest.mark.any_database
@pytest.mark.usefixtures("atomic_requests")
@pytest.mark.parametrize("how", ["logout", "limit", "password", "reuse", "deactivated unseen"])
def test_simplejwts_own_views_say_it_too(how: str, user: AbstractUser, settings: Any) -> None:
    login = Login(user)
    refresh = RefreshToken(login.refresh_token)
    end, why = ENDINGS[how]
    end(login, settings)
    settings.ROOT_URLCONF = "tests.simplejwt_urls"
    del settings.TOKENS_PATCH_SIMPLEJWT
    for path, name in (("refresh", "refresh"), ("verify", "token")):
        answer = APIClient().post(f"/auth/token/{path}/", {name: login.refresh_token})
        assert reason_in(answer) == why
    if how != "deactivated unseen":
        answer = APIClient().post("/auth/token/blacklist/", {"refresh": expired(refresh)})
        assert reason_in(answer) == why
    assert reason_in(APIClient().post("/auth/token/refresh/", {"refresh": "garbage"})) == NONE


@pytest.mark.usefixtures("atomic_requests")
def test_reuse_still_ends_the_session_under_simplejwts_views(
    user: AbstractUser, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.simplejwt_urls"
    settings.TOKENS_ROTATION_GRACE = 0 * SECOND
    del settings.TOKENS_PATCH_SIMPLEJWT
    token = str(RefreshToken.for_user(user))
    first, *others = (
        APIClient().post("/auth/token/refresh/", {"refresh": token}) for _ in range(3)
    )
    assert first.status_code == 200
    assert [reason_in(answer) for answer in others] == ["reused", "reused"]
    assert not TokenSession.objects.exists()


# What belongs to the project


class CookieSerializer(TokenRefreshSerializer):
    """The usual recipe: the token comes from a cookie, and is no field."""

    refresh = None

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        return super().validate({"refresh": self.context["cookie"]})


@pytest.mark.any_database
def test_a_serializer_that_takes_the_token_from_elsewhere_says_why(user: AbstractUser) -> None:
    login = Login(user)
    login.logout()
    serializer = CookieSerializer(data={}, context={"cookie": login.refresh_token})
    with pytest.raises(TokenError) as refusal:
        serializer.is_valid()
    assert refusal.value._tokens_client_reason == "revoked"  # type: ignore[attr-defined]


class Strict(JWTAuthentication):
    """A project that refuses a good token, in its own words."""

    def get_validated_token(self, raw_token: bytes) -> Any:
        token = super().get_validated_token(raw_token)
        if "device" not in token:
            detail: Any = {"detail": "No device", "reason": "no_device"}
            raise InvalidToken(detail)
        return token


class Mixed(JWTAuthentication):
    def get_user(self, validated_token: Any) -> Any:
        raise InvalidToken("Another tenant")


@pytest.mark.any_database
def test_a_projects_own_refusal_keeps_its_words(user: AbstractUser) -> None:
    access = RefreshToken.for_user(user).access_token
    for kind, reason in ((Strict, "no_device"), (Mixed, None)):
        with pytest.raises(APIException) as refusal:
            authenticate(kind, access)
        assert refusal.value.detail.get("reason") == reason  # type: ignore[union-attr]


seen: list[Any] = []


def handler(exc: Exception, context: Any) -> Any:
    seen.append(exc)
    return exception_handler(exc, context)


@pytest.mark.any_database
def test_a_projects_exception_handler_sees_the_reason(user: AbstractUser, settings: Any) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"EXCEPTION_HANDLER": f"{__name__}.handler"}
    login = Login(user)
    login.logout()
    seen.clear()
    heard(login)
    assert len(seen) == 5
    for exc in seen:
        assert isinstance(exc, APIException)
        assert exc.detail["reason"] == "revoked"  # type: ignore[index, call-overload]
        assert exc.get_codes()["reason"] == "revoked"  # type: ignore[index, call-overload]


@pytest.mark.any_database
def test_reasons_are_not_translated(user: AbstractUser, settings: Any) -> None:
    login = Login(user)
    login.logout()
    with translation.override("de"):
        answers = [login.me(), login.refresh()]
    assert {reason_in(answer) for answer in answers} == {"revoked"}
    assert set(ClientReason) == {
        "expired",
        "revoked",
        "reused",
        "ended_by_limit",
        "password_changed",
        "malformed",
    }


@pytest.mark.any_database
def test_a_token_class_used_alone_tells_by_its_error(user: AbstractUser, settings: Any) -> None:
    login = Login(user)
    log_in_once_more(login, settings)
    with pytest.raises(TokenError) as refusal:
        AccessToken(login.access)
    assert client_reason(login.access, refusal.value) == "ended_by_limit"
    assert client_reason("garbage", refusal.value) is None


# What it costs


@pytest.mark.parametrize("path", ["me/", "token/verify/", "token/refresh/"])
def test_a_refused_token_costs_one_statement_more(
    path: str, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    login = Login(user)
    login.logout()
    with statements() as ran:
        if path == "me/":
            answer = login.me()
        else:
            field = path.split("/")[1].replace("verify", "token")
            answer = APIClient().post(f"/api/{path}", {field: login.refresh_token})
    assert (reason_in(answer), len(ran)) == ("revoked", 2), ran


@pytest.mark.any_database
@pytest.mark.parametrize("token", ["expired", "forged", "odd"])
def test_what_needs_no_look_costs_none(
    token: str, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    access = RefreshToken.for_user(user).access_token
    text = {
        "expired": expired(access),
        "forged": sign(access.payload, key="another key " * 4),
        "odd": sign(access.payload | {JTI: 5}),
    }[token]
    with statements() as ran:
        of_access(text)
    assert not ran


@pytest.fixture
def no_look(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the look for the reason fail, and nothing else."""
    asked: list[str] = []

    def fail(using: str, *, seconds: float) -> Any:
        asked.append(using)
        raise DatabaseError("no answer")

    monkeypatch.setattr(databases, "questions", fail)
    return asked


@pytest.mark.any_database
@pytest.mark.usefixtures("atomic_requests")
@pytest.mark.parametrize("how", ["password", "limit", "reuse", "logout"])
def test_if_the_look_fails_the_refusal_stays_as_it_is(
    how: str, user: AbstractUser, settings: Any, no_look: list[str]
) -> None:
    login = Login(user)
    ENDINGS[how][0](login, settings)
    assert heard(login) == {"revoked"}
    assert no_look
    assert post("token/refresh/", refresh=expired(RefreshToken.for_user(make_bob()))) == "expired"


def make_bob() -> AbstractUser:
    return User.objects.create_user("bob", password=PASSWORD)


def test_a_look_that_fails_leaves_the_callers_transaction_whole(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = RefreshToken.for_user(user).claims
    sessions.end_all(user)
    table = BlacklistEntry._meta.db_table
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(first_name="Ada")
        monkeypatch.setattr(BlacklistEntry._meta, "db_table", f"{table}_away")
        assert sessions.recorded_reason(claims, in_session=True) is None
        monkeypatch.setattr(BlacklistEntry._meta, "db_table", table)
        assert User.objects.get(pk=user.pk).first_name == "Ada"
    assert User.objects.get(pk=user.pk).first_name == "Ada"


@pytest.mark.any_database
def test_a_backend_that_raises_changes_no_refusal(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    login = Login(user)
    access = expired(AccessToken(login.access))
    monkeypatch.setattr(AnyToken, "get_token_backend", lambda self: {}["a key that is not there"])
    assert reason_in(login.me(access)) == NONE
    assert login.me().status_code == 200
    assert "reason_failed" in {getattr(record, "event", "") for record in caplog.records}
    assert access not in caplog.text


def test_the_look_has_a_time_limit(user: AbstractUser, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    questions = databases.questions

    def limited(using: str, *, seconds: float) -> Any:
        given.append(seconds)
        return questions(using, seconds=seconds)

    monkeypatch.setattr(databases, "questions", limited)
    login = Login(user)
    login.logout()
    heard(login)
    assert given
    assert max(given) <= 1


@pytest.mark.any_database
def test_the_exception_carries_what_is_known_without_asking() -> None:
    assert TokenRevoked().client_reason is None
    assert TokenRevoked(ClientReason.PASSWORD_CHANGED).client_reason == "password_changed"


# The page for those who write clients


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    app = httpx.WSGITransport(app=WSGIHandler())
    with httpx.Client(transport=app, base_url="http://testserver/api/") as client:
        yield client


@pytest.fixture
def page(http: httpx.Client, user: AbstractUser) -> Any:
    """What the page's snippet defines, and a client of a user who has logged in."""
    found: dict[str, Any] = {}
    exec(snippet("clients", language="python", beginning="import httpx", folder=HOWTO), found)  # noqa: S102 (our own page)
    login = http.post("token/", json={"username": "ada", "password": PASSWORD}).json()
    return SimpleNamespace(client=found["Client"](http, login), logged_out=found["LoggedOut"])


@pytest.mark.any_database
def test_the_pages_client_refreshes_when_its_access_token_has_expired(page: Any) -> None:
    client, before = page.client, dict(page.client.tokens)
    client.tokens["access"] = expired(AccessToken(before["access"]))
    assert client.request("GET", "me/").json()["username"] == "ada"
    assert client.tokens["refresh"] != before["refresh"]
    assert client.request("GET", "me/").status_code == 200
    assert client.request("GET", "sessions/nothing/").status_code == 405


@pytest.mark.any_database
@pytest.mark.parametrize("how", ["limit", "password", "logout", "reuse"])
@pytest.mark.parametrize("is_old", [False, True])
def test_the_pages_client_says_why_it_was_logged_out(
    is_old: bool, how: str, page: Any, settings: Any
) -> None:
    login: Any = Login.__new__(Login)
    login.api, tokens = APIClient(), page.client.tokens
    login.access, login.refresh_token = tokens["access"], tokens["refresh"]
    end, why = ENDINGS[how]
    end(login, settings)
    if is_old:
        tokens["access"] = signed(exp=5)
    with pytest.raises(page.logged_out) as refusal:
        page.client.request("GET", "me/")
    assert refusal.value.args == (why,)
    assert not tokens


@pytest.mark.any_database
def test_the_pages_client_gives_up_a_token_of_another_service(page: Any) -> None:
    page.client.tokens["access"] = "garbage"
    with pytest.raises(page.logged_out) as refusal:
        page.client.request("GET", "me/")
    assert refusal.value.args == (None,)


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["howto/clients", "reference"])
def test_the_pages_explain_every_reason_and_no_other(name: str) -> None:
    text = (BASE_DIR / "docs" / f"{name}.md").read_text()
    [table] = re.findall(r"^\| `reason` \|.*\n\| -.*\n((?:\|.*\n)+)", text, re.M)
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(ClientReason)
