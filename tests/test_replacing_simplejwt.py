"""simplejwt's own views, URLs and calls go on working over our serializers and token classes."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import AbstractUser
from rest_framework.test import APIClient
from rest_framework_simplejwt.exceptions import TokenError

from tokens import clock
from tokens.jwt import RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import PASSWORD

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.simplejwt_urls"),
]


def test_log_in_refresh_verify_and_log_out(user: AbstractUser, api: APIClient) -> None:
    tokens = api.post("/auth/token/", {"username": "ada", "password": PASSWORD}).json()
    tokens = api.post("/auth/token/refresh/", {"refresh": tokens["refresh"]}).json()
    assert TokenSession.objects.count() == 1
    header = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access']}"}
    assert api.get("/me/", **header).status_code == 200
    assert api.post("/auth/token/verify/", {"token": tokens["access"]}).json() == {}
    assert api.post("/auth/token/blacklist/", {"refresh": tokens["refresh"]}).json() == {}
    assert api.get("/me/", **header).status_code == 401
    assert api.post("/auth/token/verify/", {"token": tokens["access"]}).status_code == 401
    assert api.post("/auth/token/refresh/", {"refresh": tokens["refresh"]}).status_code == 401


def test_sliding_tokens_log_in_slide_and_log_out(user: AbstractUser, api: APIClient) -> None:
    raw = api.post("/auth/sliding/", {"username": "ada", "password": PASSWORD}).json()["token"]
    with time_machine.travel(clock.now() + timedelta(minutes=4), tick=False):
        later = api.post("/auth/sliding/refresh/", {"token": raw}).json()["token"]
        assert SlidingToken(later)["jti"] == SlidingToken(raw)["jti"]
        entry, _ = SlidingToken(later).blacklist()
        for revoked in (raw, later):
            with pytest.raises(TokenError):
                SlidingToken(revoked)
    assert entry.expires_at >= clock.from_epoch(SlidingToken(raw, verify=False)["refresh_exp"])


def test_a_longer_life_that_a_project_gives_in_get_token_covers_the_entry(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokens.api.serializers import TokenObtainPairSerializer

    plain: Any = TokenObtainPairSerializer.get_token

    def remember_me(cls: type, user: AbstractUser) -> RefreshToken:
        token: RefreshToken = plain(user)
        token.set_exp(lifetime=timedelta(days=30))
        return token

    monkeypatch.setattr(TokenObtainPairSerializer, "get_token", classmethod(remember_me))
    tokens = api.post("/auth/token/", {"username": "ada", "password": PASSWORD}).json()
    end = clock.from_epoch(RefreshToken(tokens["refresh"])["exp"])
    assert TokenSession.objects.get().expires_at == end
    api.post("/auth/token/blacklist/", {"refresh": tokens["refresh"]})
    assert BlacklistEntry.objects.get().expires_at == end
