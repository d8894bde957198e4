"""simplejwt's own serializers and views, used by URLs and subclasses of a project."""

import importlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError, connection
from django.urls import path
from rest_framework import serializers as drf
from rest_framework.test import APIClient
from rest_framework_simplejwt import serializers, tokens, views
from rest_framework_simplejwt.serializers import TokenRefreshSerializer as ImportedBefore
from rest_framework_simplejwt.settings import api_settings

from tokens import clock, sessions
from tokens.api.patch import patched
from tokens.api.serializers import AsksBlacklist
from tokens.checks import protection
from tokens.models import BlacklistEntry, TokenSession
from tokens.patches import after_import

from .conftest import DAY, PASSWORD
from .test_patching_simplejwt import me

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.test_patching_serializers"),
]


class Longer(tokens.RefreshToken):
    lifetime = 3 * DAY


class Refresh(ImportedBefore):
    """A project's serializer, which finds the token elsewhere and adds to the answer."""

    refresh = drf.CharField(required=False)
    token_class = Longer

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        attrs["refresh"] = self.context["request"].headers["X-Refresh"]
        return super().validate(attrs) | {"tier": "gold"}


class Pair(serializers.TokenObtainPairSerializer):
    @classmethod
    def get_token(cls, user: Any) -> Any:
        token = super().get_token(user)
        token["tier"] = "gold"
        return token


class Half(tokens.BlacklistMixin, tokens.Token):  # type: ignore[type-arg]
    token_type = "half"
    lifetime = DAY


class Untouched(ImportedBefore):
    token_class: Any = Half


def their(view: Any, serializer: Any) -> Any:
    return view.as_view(serializer_class=serializer)


urlpatterns = [
    path("pair/", their(views.TokenObtainPairView, serializers.TokenObtainPairSerializer)),
    path("pair/mine/", their(views.TokenObtainPairView, Pair)),
    path("refresh/", their(views.TokenRefreshView, ImportedBefore)),
    path("refresh/mine/", their(views.TokenRefreshView, Refresh)),
    path("verify/", their(views.TokenVerifyView, serializers.TokenVerifySerializer)),
    path("blacklist/", their(views.TokenBlacklistView, serializers.TokenBlacklistSerializer)),
    path("sliding/", their(views.TokenObtainSlidingView, serializers.TokenObtainSlidingSerializer)),
    path(
        "sliding/refresh/",
        their(views.TokenRefreshSlidingView, serializers.TokenRefreshSlidingSerializer),
    ),
    *importlib.import_module("project.urls").urlpatterns,
]


@pytest.fixture(autouse=True)
def patch(settings: Any) -> None:
    del settings.TOKENS_PATCH_SIMPLEJWT


def post(url: str, data: dict[str, str], **headers: Any) -> Any:
    return APIClient(raise_request_exception=False).post(url, data, **headers)


def log_in(url: str = "/pair/") -> Any:
    answer = post(url, {"username": "ada", "password": PASSWORD}, HTTP_USER_AGENT="a phone")
    assert answer.status_code == 200, answer.json()
    return answer.json()


def refresh(token: str) -> Any:
    return post("/refresh/", {"refresh": token})


def refresh_mine(token: str) -> Any:
    return post("/refresh/mine/", {}, HTTP_X_REFRESH=token)


@pytest.mark.parametrize("url", ["/pair/", "/pair/mine/"])
def test_a_login_is_a_session_with_its_client(url: str, user: AbstractUser) -> None:
    pair = log_in(url)
    session = TokenSession.objects.get()
    assert (session.user_agent, session.ip_address) == ("a phone", "127.0.0.1")
    assert ("tier" in tokens.RefreshToken(pair["refresh"])) is (url == "/pair/mine/")
    assert me(pair["access"]) == 200


@pytest.mark.parametrize("use", [refresh, refresh_mine])
def test_a_refresh_rotates_within_the_session_and_finds_reuse(
    use: Any, user: AbstractUser, statements: Any
) -> None:
    first = log_in()["refresh"]
    with statements() as ran:
        answer = use(first)
    assert len(ran) == 2, ran
    assert answer.json().get("tier") == ("gold" if use is refresh_mine else None)
    second = answer.json()["refresh"]
    assert use(first).json()["refresh"] == second  # two tabs
    session = TokenSession.objects.get()
    assert (session.expires_at - session.last_used_at > 2 * DAY) is (use is refresh_mine)
    with time_machine.travel(clock.now() + timedelta(minutes=1), tick=False):
        assert use(first).status_code == 401
        assert use(second).status_code == 401
    assert BlacklistEntry.objects.get().reason == "reuse"


@pytest.mark.parametrize("use", [refresh, refresh_mine])
@pytest.mark.usefixtures("atomic_requests")
def test_reuse_ends_the_session_in_a_request_transaction_too(
    use: Any, user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    first = log_in()
    second = use(first["refresh"]).json()
    assert use(first["refresh"]).status_code == 401
    assert not TokenSession.objects.exists()
    assert use(second["refresh"]).status_code == 401
    assert (me(first["access"]), me(second["access"])) == (401, 401)
    assert protection.check_urls() == []


@pytest.mark.usefixtures("atomic_requests")
def test_a_new_password_ends_the_session_at_its_next_refresh(user: AbstractUser) -> None:
    pair = log_in()
    user.set_password("another long password")
    type(user)._base_manager.filter(pk=user.pk).update(password=user.password)
    assert refresh(pair["refresh"]).status_code == 401
    assert not TokenSession.objects.exists()


def test_other_refusals_roll_back_as_ever(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    token = log_in()["refresh"]
    sessions.end_all(user)

    def write_and_go_on(self: Any, attrs: Any) -> Any:
        user.groups.create(name="written")
        return ImportedBefore.validate(self, {"refresh": attrs["refresh"]})

    monkeypatch.setattr(Refresh, "validate", write_and_go_on)
    assert post("/refresh/mine/", {"refresh": token}).status_code == 401
    assert not user.groups.exists()


def test_a_database_that_fails_answers_503(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    token = log_in()["refresh"]

    def fail(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(sessions, "find", fail)
    answer = refresh(token)
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    settings.TOKENS_PATCH_SIMPLEJWT = False
    monkeypatch.setattr(tokens.RefreshToken, "verify", fail)
    assert refresh(token).status_code == 500


def test_verify_blacklist_and_sliding_answer_as_ours(user: AbstractUser) -> None:
    pair = log_in()
    assert post("/verify/", {"token": pair["access"]}).status_code == 200
    for _ in range(2):
        assert post("/blacklist/", {"refresh": pair["refresh"]}).status_code == 200
    assert post("/verify/", {"token": pair["access"]}).status_code == 401
    assert refresh(pair["refresh"]).status_code == 401
    token = log_in("/sliding/")["token"]
    slid = post("/sliding/refresh/", {"token": token}).json()["token"]
    old, new = tokens.SlidingToken(token), tokens.SlidingToken(slid)
    assert (old["jti"], old["iat"]) == (new["jti"], new["iat"])
    sessions.end_all(user)
    assert post("/sliding/refresh/", {"token": slid}).status_code == 401


def test_the_setting_counts_at_each_use(user: AbstractUser, settings: Any) -> None:
    pair = log_in()
    settings.TOKENS_PATCH_SIMPLEJWT = False
    assert type(ImportedBefore(data={})) is ImportedBefore
    assert {message.id for message in protection.check_urls()} == {"tokens.E022"}
    assert refresh(pair["refresh"]).status_code == 200
    assert refresh(pair["refresh"]).status_code == 200
    assert (
        str(TokenSession.objects.get().refresh_jti) == tokens.RefreshToken(pair["refresh"])["jti"]
    )
    settings.TOKENS_PATCH_SIMPLEJWT = True
    assert isinstance(ImportedBefore(data={}), AsksBlacklist)
    assert protection.check_urls() == []


def test_what_is_not_ours_stays_and_is_reported(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    assert patched(Untouched) is Untouched
    assert type(Untouched(data={})) is Untouched
    assert patched(drf.Serializer) is drf.Serializer
    monkeypatch.setattr(Refresh, "token_class", Half)
    (message,) = protection.check_urls()
    assert (message.id, "refresh/mine/" in message.msg) == ("tokens.E022", True)


def test_lists_of_serializers_are_made_as_before() -> None:
    (child,) = {type(one.child) for one in [Refresh(many=True, data=[])]}
    assert issubclass(child, Refresh)
    assert issubclass(child, AsksBlacklist)
    assert not Refresh().fields["refresh"].required


def test_our_urls_use_a_subclass_of_simplejwts_serializer(
    user: AbstractUser, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "tests.test_patching_serializers.Pair"
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"TOKEN_OBTAIN_SERIALIZER": named}
    monkeypatch.setattr(api_settings, "TOKEN_OBTAIN_SERIALIZER", named)
    assert protection.check_serializers() == []
    assert tokens.RefreshToken(log_in("/api/token/")["refresh"])["tier"] == "gold"


@pytest.mark.any_database
def test_an_action_follows_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imported_later.py").write_text("value = 1\n")
    seen: list[Any] = []
    finders = list(sys.meta_path)
    after_import("imported_later", lambda module: seen.append(module.value))
    assert seen == []
    importlib.import_module("imported_later")
    assert (seen, sys.meta_path) == ([1], finders)
    after_import("imported_later", lambda module: seen.append(module.value + 1))
    assert seen == [1, 2]
    after_import("imported_never", seen.append)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("imported_never")
    assert sys.meta_path == finders
