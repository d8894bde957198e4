"""What the pages tell people to write does what the pages say."""

import json
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import OperationalError
from django.test import RequestFactory
from rest_framework.settings import api_settings
from rest_framework.test import APIClient, APIRequestFactory

from tokens import cleanup, clock, sessions
from tokens.jwt import AccessToken
from tokens.models import CleanupRun, TokenSession

from .conftest import SECOND, Login, bearer
from .expiring import add_run
from .snippets import HOWTO, snippet

pytestmark = pytest.mark.django_db(transaction=True)


def page(name: str, beginning: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(snippet(name, language="python", beginning=beginning, folder=HOWTO), found)  # noqa: S102 (our own page)
    return found


def test_the_health_view_names_no_host_and_no_error() -> None:
    view = page("watch", "from dataclasses import asdict")["health"]
    add_run(ago=timedelta(days=9))
    add_run(ago=timedelta(days=8), outcome="failed")
    CleanupRun.objects.update(host="db7.corp.example", error="disk full on /var/lib/pg")
    for path, status in (("/", 200), ("/?strict", 503)):
        answer = view(RequestFactory().get(path))
        assert answer.status_code == status
        assert json.loads(answer.content)["status"] == "overdue"
        assert b"db7" not in answer.content
        assert b"disk full" not in answer.content
    add_run(ago=timedelta(0))
    assert view(RequestFactory().get("/?strict")).status_code == 200
    with patch.object(cleanup, "status", side_effect=OperationalError("host db7")):
        answer = view(RequestFactory().get("/"))
    assert (answer.status_code, answer.content) == (503, b'{"status": "error"}')


def test_a_login_by_hand_knows_where_it_comes_from(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "NUM_PROXIES", 1)
    log_in = page("sessions", "from tokens.api.client import client_of")["log_in"]
    client = {"HTTP_X_FORWARDED_FOR": "192.0.2.7", "HTTP_USER_AGENT": "curl/8"}
    log_in(APIRequestFactory().post("/", **client), user)
    session = TokenSession.objects.get()
    assert (session.ip_address, session.user_agent) == ("192.0.2.7", "curl/8")


def test_support_acts_as_a_user_without_a_session(make_user: Any, settings: Any) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = 1
    customer, staff = make_user("ada"), make_user("bob")
    login = Login(customer)
    token_for_support = page("sessions", "from tokens.jwt import AccessToken")["token_for_support"]
    first, second = token_for_support(customer, staff), token_for_support(customer, staff)
    assert AccessToken(str(first))["act"] == {"sub": str(staff.pk)}
    assert first.lifetime == settings.SIMPLE_JWT["ACCESS_TOKEN_LIFETIME"]

    def status(token: object) -> int:
        return int(APIClient().get("/api/me/", **bearer(token)).status_code)

    assert TokenSession.objects.count() == 1
    assert status(first) == status(second) == login.me().status_code == 200
    first.blacklist()
    assert (status(first), status(second), login.me().status_code) == (401, 200, 200)
    sessions.end_all(customer)
    assert status(second) == 401


def test_no_grace_means_none_at_the_very_same_instant(
    user: AbstractUser, settings: Any, time_machine: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = 0 * SECOND
    time_machine.move_to(clock.aware(clock.now()), tick=False)
    login = Login(user)
    assert login.refresh().status_code == 200
    verify = login.api.post("/api/token/verify/", {"token": login.refresh_token})
    assert verify.status_code == login.refresh().status_code == 401
    assert not TokenSession.objects.exists()
