"""What users do, end to end, over real HTTP; and that cleaning up never changes an answer."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import AbstractUser
from django.core import serializers
from django.core.management import call_command
from django.db import connection
from django.test import Client
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.state import token_backend

from tokens import clock
from tokens.jwt import AccessToken, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

from .conftest import PASSWORD
from .processes import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def http(live_server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_server.url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def no_margin(settings: Any) -> None:
    settings.TOKENS_CLEANUP_MARGIN = timedelta(0)


def log_in(http: httpx.Client, username: str = "ada") -> dict[str, str]:
    answer = http.post("/api/token/", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 200
    tokens: dict[str, str] = answer.json()
    return tokens


def bearer(tokens: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access']}"}


def clean_up() -> dict[str, Any]:
    out = StringIO()
    call_command("cleanup_tokens", format="json", stdout=out)
    report: dict[str, Any] = json.loads(out.getvalue())
    return report


def expire_everything() -> None:
    """Move every end into the past, as waiting would."""
    past = clock.now() - timedelta(days=1)
    BlacklistEntry.objects.update(expires_at=past)
    TokenSession.objects.update(expires_at=past)


def test_log_in_log_out_be_refused_expire_and_be_cleaned_up(
    http: httpx.Client, user: AbstractUser
) -> None:
    laptop, phone = log_in(http), log_in(http)
    assert http.get("/api/me/", headers=bearer(laptop)).json() == {"username": "ada"}
    assert http.post("/api/logout/", json={"refresh": laptop["refresh"]}).status_code == 204
    assert http.get("/api/me/", headers=bearer(laptop)).status_code == 401
    answer = http.post("/api/token/refresh/", json={"refresh": laptop["refresh"]})
    assert answer.status_code == 401
    assert http.get("/api/me/", headers=bearer(phone)).status_code == 200
    entry = BlacklistEntry.objects.get()
    assert (entry.scope, entry.reason, entry.user) == ("session", "logout", user)

    assert clean_up()["entries_removed"] == 0
    assert BlacklistEntry.objects.exists()
    expire_everything()
    health = http.get("/health/").json()
    assert health["cleanup"]["backlog"] == 2
    report = clean_up()
    assert (report["entries_removed"], report["sessions_removed"]) == (1, 1)
    assert not BlacklistEntry.objects.exists()
    assert http.get("/health/").json()["cleanup"]["backlog"] == 0
    assert CleanupRun.objects.filter(outcome="succeeded").count() == 2


@pytest.mark.usefixtures("no_margin")
def test_a_token_within_the_leeway_stays_refused_through_cleanup(
    http: httpx.Client, user: AbstractUser, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"LEEWAY": 60}
    monkeypatch.setattr(token_backend, "leeway", 60)
    moment = clock.to_epoch(clock.now())
    refresh = RefreshToken.for_user(user)
    refresh.payload |= {"exp": moment - 30, "iat": moment - 90}
    tokens = {"refresh": str(refresh)}
    access = refresh.access_token
    access["exp"] = moment - 30
    tokens["access"] = str(access)
    assert http.get("/api/me/", headers=bearer(tokens)).status_code == 200
    assert http.post("/api/logout/", json={"refresh": tokens["refresh"]}).status_code == 204
    # As if nothing lived longer than the access token, which is what cleanup has to go by.
    BlacklistEntry.objects.update(expires_at=clock.from_epoch(moment - 30))
    assert clean_up()["entries_removed"] == 0
    assert http.get("/api/me/", headers=bearer(tokens)).status_code == 401


@pytest.mark.usefixtures("no_margin")
def test_what_is_older_than_the_leeway_is_removed(user: AbstractUser, settings: Any) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"LEEWAY": 60}
    RefreshToken.for_user(user).blacklist()
    BlacklistEntry.objects.update(expires_at=clock.now() - timedelta(seconds=90))
    assert clean_up()["entries_removed"] == 1


@pytest.mark.usefixtures("no_margin")
def test_a_longer_life_survives_the_end_of_the_usual_one(user: AbstractUser) -> None:
    refresh = RefreshToken.for_user(user)
    refresh.set_exp(lifetime=timedelta(days=30))
    raw = str(refresh)
    access = AccessToken(str(refresh.access_token))
    access.blacklist()
    entry = BlacklistEntry.objects.get()
    assert entry.expires_at == clock.from_epoch(refresh["exp"])
    assert clean_up()["entries_removed"] == 0
    with pytest.raises(TokenError):
        RefreshToken(raw)


@pytest.mark.usefixtures("no_margin")
def test_a_sliding_token_that_slid_stays_refused_past_its_first_end(
    user: AbstractUser, settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"SLIDING_TOKEN_LIFETIME": timedelta(seconds=2)}
    token = SlidingToken.for_user(user)
    slid = SlidingToken(str(token))
    slid.set_exp(lifetime=timedelta(minutes=5))
    token.blacklist()  # by the first form, whose end is near
    entry = BlacklistEntry.objects.get()
    assert entry.expires_at > clock.from_epoch(token["exp"]) + timedelta(hours=23)
    assert clean_up()["entries_removed"] == 0
    with pytest.raises(TokenError):
        SlidingToken(str(slid))


def dump() -> str:
    """Return every row of every table of the project, as text."""
    rows = [
        row
        for model in connection.introspection.installed_models(
            connection.introspection.table_names()
        )
        for row in model._default_manager.all()
    ]  # type: ignore[attr-defined]
    return serializers.serialize("json", rows)


def test_a_day_of_use_leaves_no_token_in_database_logs_or_admin(
    http: httpx.Client,
    user: AbstractUser,
    make_user: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    make_user("grace", is_staff=True, is_superuser=True)
    tokens = [log_in(http) for _ in range(3)]
    for pair in tokens:
        newest = http.post("/api/token/refresh/", json={"refresh": pair["refresh"]}).json()
        http.get("/api/sessions/", headers=bearer(newest))
        http.post("/api/token/verify/", json={"token": newest["access"]})
    TokenSession.objects.update(rotated_at=clock.now() - timedelta(minutes=1))
    http.post("/api/token/refresh/", json={"refresh": tokens[0]["refresh"]})  # reuse
    http.post("/api/logout/", json={"refresh": tokens[1]["refresh"]})
    http.post("/api/logout/all/", headers=bearer(tokens[2]))
    http.post("/api/logout/", json={"refresh": tokens[2]["refresh"] + "x"})
    http.get("/api/me/", headers=bearer(tokens[2]))
    log_in(http)
    call_command("cleanup_tokens", verbosity=3, stdout=StringIO())

    admin = Client()
    assert admin.login(username="grace", password=PASSWORD)
    pages = [
        admin.get(f"/admin/tokens/{name}/").text
        for name in ("blacklistentry", "tokensession", "cleanuprun")
    ]
    pages += [
        admin.get(f"/admin/tokens/blacklistentry/{entry.pk}/change/").text
        for entry in BlacklistEntry.objects.all()
    ]
    assert {entry.reason for entry in BlacklistEntry.objects.all()} == {
        "reuse",
        "logout",
        "logout_all",
    }
    for place, text in {"database": dump(), "logs": caplog.text, "admin": str(pages)}.items():
        assert len(text) > 1000, place
        assert "eyJ" not in text, place
