"""The app, driven through its real doors, for the state machine beside the oracle."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import jwt
import time_machine
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.http import HttpRequest
from django.test import override_settings
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIClient
from rest_framework_simplejwt import authentication as simplejwt_authentication
from rest_framework_simplejwt import serializers as simplejwt_serializers
from rest_framework_simplejwt import tokens as simplejwt_tokens
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.state import token_backend

from tokens import blacklist, clock, snapshot
from tokens.api import authentication, serializers, views
from tokens.jwt import AccessToken, AnyToken, SlidingToken, accepted, asking
from tokens.models import BlacklistEntry, CleanupRun, TokenSession
from tokens.refusal import Refused
from tokens.snapshot import Clocks, DatabaseSnapshot

from .conftest import bearer
from .oracle import World
from .uuids import LAST_UUID7

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


def milliseconds(duration: int) -> timedelta:
    return timedelta(milliseconds=duration)


@contextmanager
def in_world(world: World) -> Iterator["Clock"]:
    """Apply the settings of a run, stop the clock, and empty the tables at the end."""
    simplejwt = settings.SIMPLE_JWT | {
        "ROTATE_REFRESH_TOKENS": world.rotate,
        "LEEWAY": world.leeway // 1000,
        "ACCESS_TOKEN_LIFETIME": milliseconds(world.access),
        "REFRESH_TOKEN_LIFETIME": milliseconds(world.refresh),
    }
    changed = override_settings(
        SIMPLE_JWT=simplejwt,
        TOKENS_ROTATION_GRACE=milliseconds(world.grace),
        TOKENS_MAX_SESSIONS_PER_USER=world.limit,
        TOKENS_SESSION_MAX_AGE=milliseconds(world.session_limit) if world.session_limit else None,
        TOKENS_CHECK_MAX_AGE=milliseconds(world.max_age),
        TOKENS_CLEANUP_MARGIN=milliseconds(world.margin),
        TOKENS_PATCH_SIMPLEJWT=world.patched,
        TOKENS_SESSION_METADATA=False,
    )
    with ExitStack() as stack:
        traveller = stack.enter_context(time_machine.travel(BEGIN, tick=False))
        stack.enter_context(changed)
        # simplejwt reads its settings once.
        stack.enter_context(patch.object(token_backend, "leeway", world.leeway // 1000))
        for read in settings_of_simplejwt():
            kinds = (AccessToken, SlidingToken)
            stack.enter_context(patch.object(read, "AUTH_TOKEN_CLASSES", kinds))
            asks = world.check_password
            stack.enter_context(patch.object(read, "CHECK_REVOKE_TOKEN", asks))
        stack.enter_context(patch.object(clock, "database_now", lambda using: clock.now()))
        # Ids of sessions follow time, and no clock goes back while a process runs.
        stack.enter_context(patch.object(*LAST_UUID7, None))
        forget_snapshots()
        stack.callback(empty)
        yield Clock(traveller)


def settings_of_simplejwt() -> list[Any]:
    """Return simplejwt's settings: a module keeps those that were there when it was imported."""
    modules = [simplejwt_authentication, simplejwt_serializers, simplejwt_tokens, asking, views]
    return list({id(module.api_settings): module.api_settings for module in modules}.values())


class Clock:
    """The clock of the app, its tokens and its database, in milliseconds since the beginning."""

    def __init__(self, traveller: Any) -> None:
        self._traveller = traveller
        self.now = 0

    def wait(self, duration: int) -> None:
        self.now += duration
        self._traveller.move_to(BEGIN + milliseconds(self.now))


def forget_snapshots() -> None:
    # By the wall clock, because no other follows the test's.
    snapshot.reset(DatabaseSnapshot("default", clocks=Clocks(time.time, time.time)))


def empty() -> None:
    snapshot.reset()
    for model in (BlacklistEntry, TokenSession, CleanupRun, get_user_model()):
        rows: Any = model._base_manager.all()
        rows._raw_delete("default")


def payload_of(raw: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(raw, options={"verify_signature": False})
    return claims


def since_begin(epoch: float) -> int:
    return round((epoch - BEGIN.timestamp()) * 1000)


def http_request(raw: str) -> int:
    status: int = APIClient().get("/api/me/", **bearer(raw)).status_code
    return status


def post(path: str, body: dict[str, str] | None = None, *, access: str = "") -> Any:
    return APIClient().post(f"/api/{path}", body or {}, **(bearer(access) if access else {}))


def end_by_id(sid: str, access: str) -> int:
    status: int = APIClient().delete(f"/api/sessions/{sid}/", **bearer(access)).status_code
    return status


def is_accepted(door: str, raw: str) -> bool:
    """Ask what a request or an endpoint asks, without the costs of HTTP."""
    if door != "stateless":
        return _is_accepted(door, raw)
    claims = AccessToken(raw, verify=False).claims
    before = snapshot.refuses_at_once(claims, using="default")
    answer = _is_accepted(door, raw)
    for told in {before, snapshot.refuses_at_once(claims, using="default")} - {None}:
        # What asynchronous code is told is what the table says.
        assert told is blacklist._ask(Refused(claims), "default")
    return answer


def _is_accepted(door: str, raw: str) -> bool:
    try:
        if door == "verify":
            AnyToken(raw)
        elif door == "introspect":
            return accepted(raw) is not None
        elif door == "refresh":
            serializers.TokenRefreshSerializer(data={"refresh": raw}).is_valid(raise_exception=True)
        else:
            http = HttpRequest()
            http.META["HTTP_AUTHORIZATION"] = f"Bearer {raw}"
            return _AUTHENTICATIONS[door]().authenticate(Request(http)) is not None
    except (TokenError, AuthenticationFailed):
        return False
    return True


_AUTHENTICATIONS: dict[str, Any] = {
    "request": authentication.JWTAuthentication,
    "stateless": authentication.JWTStatelessUserAuthentication,
}


def clean_up() -> None:
    call_command("cleanup_tokens", verbosity=0)
    assert CleanupRun.objects.latest("pk").outcome == "succeeded"


def revoke(**options: Any) -> None:
    call_command("revoke_tokens", verbosity=0, interactive=False, **options)
