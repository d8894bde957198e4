"""Who revoked what, for whom, why and from where: entries, signals and log records say it."""

import logging
import os
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import transaction
from rest_framework.test import APIClient

from tokens import blacklist, sessions
from tokens.conf import simplejwt
from tokens.jwt import AccessToken, RefreshToken
from tokens.management.users import operator
from tokens.mass_logout import end_everybody
from tokens.models import BlacklistEntry, TokenSession
from tokens.origin import Client, acting, used_by

from .conftest import PASSWORD, bearer
from .snippets import HOWTO, snippet

pytestmark = pytest.mark.django_db(transaction=True)

PHONE = {"REMOTE_ADDR": "203.0.113.7", "HTTP_USER_AGENT": "Phone/1"}
THIEF = {"REMOTE_ADDR": "198.51.100.6", "HTTP_USER_AGENT": "curl/8"}

FROM_PHONE = {"ip_address": "203.0.113.7", "user_agent": "Phone/1"}
FROM_ELSEWHERE = {"by_ip_address": "198.51.100.6", "by_user_agent": "curl/8"}
FROM_THERE: dict[str, Any] = {"by_ip_address": None, "by_user_agent": ""}


class Phone:
    """A login from a phone, by its own name, through the API."""

    def __init__(self, user: AbstractUser, **body: Any) -> None:
        self.api = APIClient()
        body = {"username": user.get_username(), "password": PASSWORD, **body}
        answer = self.api.post("/api/token/", body, **PHONE)
        assert answer.status_code == 200, answer.json()
        self.access, self.refresh = answer.json()["access"], answer.json()["refresh"]
        self.sid = str(AccessToken(self.access)["sid"])

    def post(self, path: str, body: Any = None, **extra: Any) -> Any:
        return self.api.post(f"/api/{path}/", body or {}, **extra)


def pair(user: AbstractUser) -> tuple[Any, str]:
    """Return the user's primary key, and how tokens name the user."""
    return user.pk, str(getattr(user, simplejwt.USER_ID_FIELD))


def said(entry: BlacklistEntry, *names: str) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in names}


def of(sid: str) -> BlacklistEntry:
    return BlacklistEntry.objects.get(key=sid)


def by_body(phone: Phone, **extra: Any) -> None:
    phone.post("logout", {"refresh": phone.refresh}, **extra)


def by_header(phone: Phone, **extra: Any) -> None:
    phone.post("logout", **bearer(phone.access), **extra)


def by_simplejwts_endpoint(phone: Phone, **extra: Any) -> None:
    phone.post("token/blacklist", {"refresh": phone.refresh}, **extra)


def everywhere(phone: Phone, **extra: Any) -> None:
    phone.post("logout/all", **bearer(phone.access), **extra)


def by_id(phone: Phone, **extra: Any) -> None:
    phone.api.delete(f"/api/sessions/{phone.sid}/", **bearer(phone.access), **extra)


WAYS = [by_body, by_header, by_simplejwts_endpoint, everywhere, by_id]


@pytest.mark.parametrize("way", WAYS)
def test_an_entry_keeps_the_device_of_the_session_that_ended(user: AbstractUser, way: Any) -> None:
    phone = Phone(user, device_name="Ada's phone")
    way(phone, **PHONE)
    assert said(of(phone.sid), "device_name", *FROM_PHONE, *FROM_THERE, "by", "note") == {
        "device_name": "Ada's phone",
        "by": "",
        "note": "",
        **FROM_PHONE,
        **FROM_THERE,
    }


@pytest.mark.parametrize("way", WAYS)
def test_an_entry_says_where_the_act_came_from_if_from_elsewhere(
    user: AbstractUser, way: Any
) -> None:
    phone = Phone(user)
    way(phone, **THIEF)
    assert said(of(phone.sid), *FROM_PHONE, *FROM_ELSEWHERE) == FROM_PHONE | FROM_ELSEWHERE


@pytest.mark.parametrize("way", WAYS)
def test_without_metadata_nothing_of_it_is_kept(
    user: AbstractUser, settings: Any, way: Any
) -> None:
    settings.TOKENS_SESSION_METADATA = False
    phone = Phone(user, device_name="Ada's phone")
    way(phone, **THIEF)
    nothing = {"device_name": "", "ip_address": None, "user_agent": "", **FROM_THERE}
    for entry in BlacklistEntry.objects.all():
        assert said(entry, *nothing) == nothing


def test_reuse_says_where_the_second_use_came_from(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    phone = Phone(user)
    assert phone.post("token/refresh", {"refresh": phone.refresh}, **PHONE).status_code == 200
    assert phone.post("token/refresh", {"refresh": phone.refresh}, **THIEF).status_code == 401
    entry = of(phone.sid)
    assert said(entry, "reason", *FROM_PHONE, *FROM_ELSEWHERE) == {
        "reason": "reuse",
        **FROM_PHONE,
        **FROM_ELSEWHERE,
    }


def test_of_many_sessions_each_entry_keeps_its_own_device(user: AbstractUser) -> None:
    phone = Phone(user)
    with used_by(Client("198.51.100.6", "curl/8")):
        other = RefreshToken.for_user(user).claims
    nowhere = RefreshToken.for_user(user).claims
    with used_by(Client("198.51.100.6", "curl/8")):
        assert sessions.end_all(user) == 3
    assert said(of(phone.sid), *FROM_PHONE, *FROM_ELSEWHERE) == FROM_PHONE | FROM_ELSEWHERE
    assert said(of(str(other.sid)), "ip_address", *FROM_THERE) == {
        "ip_address": "198.51.100.6",
        **FROM_THERE,
    }
    assert said(of(str(nowhere.sid)), "ip_address", *FROM_ELSEWHERE) == {
        "ip_address": None,
        **FROM_ELSEWHERE,
    }


def end_one(user: AbstractUser, sid: str) -> None:
    assert sessions.end_one(user, sid)


def end(user: AbstractUser, sid: str) -> None:
    session = TokenSession.objects.get(sid=sid)
    blacklist.revoke_session(sid, expires_at=session.expires_at, user_pk=user.pk, row=session)


def end_all(user: AbstractUser, sid: str) -> None:
    sessions.end_all(user)


def end_by_ids(user: AbstractUser, sid: str) -> None:
    sessions.end_by_ids([TokenSession.objects.get(sid=sid).sid], reason="admin")


def end_all_of_everybody(user: AbstractUser, sid: str) -> None:
    end_everybody(reason="command")


@pytest.mark.parametrize("way", [end, end_one, end_all, end_by_ids, end_all_of_everybody])
def test_entries_say_who_revoked_and_what_was_noted_down(
    user: AbstractUser, make_user: Callable[..., AbstractUser], way: Any
) -> None:
    grace, sid = make_user("grace"), Phone(user).sid
    with acting(grace, note="ticket 17"):
        way(user, sid)
    for entry in BlacklistEntry.objects.all():
        assert said(entry, "by", "note") == {"by": str(grace.pk), "note": "ticket 17"}


def test_a_revoked_token_and_a_user_say_it_too(user: AbstractUser) -> None:
    with acting("billing", note="x" * 300):
        entry, _new = blacklist.revoke_token(AccessToken.for_user(user).claims)
        blacklist.revoke_users([pair(user)])
    for one in (entry, *BlacklistEntry.objects.all()):
        one.refresh_from_db()
        assert said(one, "by", "note") == {"by": "billing", "note": "x" * 255}


def test_the_entry_of_a_user_says_who_revoked_last(user: AbstractUser) -> None:
    with acting("os:root@web-1", note="incident"):
        sessions.end_all(user, reason="command")
    sessions.end_all(user)
    entry = BlacklistEntry.objects.get(scope="user")
    assert said(entry, "reason", "by", "note") == {"reason": "logout_all", "by": "", "note": ""}
    with acting("billing"):
        blacklist.revoke_users([pair(user)], reason="deactivation")
    entry.refresh_from_db()
    assert said(entry, "reason", "by") == {"reason": "deactivation", "by": "billing"}


def test_a_session_and_a_token_keep_what_ended_them_first(user: AbstractUser) -> None:
    phone = Phone(user)
    with acting("first"):
        sessions.end_one(user, phone.sid)
    with acting("second"):
        blacklist.revoke_session(phone.sid, expires_at=of(phone.sid).expires_at)
    assert of(phone.sid).by == "first"


def test_the_command_says_which_user_of_the_system_ran_it(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "grace")
    Phone(user)
    call_command("revoke_tokens", user="ada", reason="ticket 17", stdout=StringIO())
    for entry in BlacklistEntry.objects.all():
        assert entry.by.startswith("os:grace@")
        assert entry.note == "ticket 17"


def test_a_container_may_have_no_name_for_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", unknown)
    assert operator().startswith(f"os:{os.getuid()}@")


def test_a_caller_of_the_command_may_say_who_it_is(user: AbstractUser) -> None:
    Phone(user)
    with acting("billing", note="debt"):
        call_command("revoke_tokens", user="ada", stdout=StringIO())
    assert {said(one, "by", "note")["by"] for one in BlacklistEntry.objects.all()} == {"billing"}


def test_signals_carry_the_session_and_the_act(
    user: AbstractUser, heard: Any, settings: Any
) -> None:
    """So that a mail can say which device, and who used its token."""
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    phone = Phone(user, device_name="Ada's phone")
    session = TokenSession.objects.get()
    phone.post("token/refresh", {"refresh": phone.refresh}, **PHONE)
    phone.post("token/refresh", {"refresh": phone.refresh}, **THIEF)
    assert [name for name, _ in heard] == [
        "session_started",
        "session_refreshed",
        "session_ended",
        "refresh_reuse_detected",
    ]
    facts = {
        "sid": phone.sid,
        "user_id": user.pk,
        "created_at": session.created_at,
        "device_name": "Ada's phone",
        **FROM_PHONE,
    }
    for name, arguments in heard:
        assert {key: arguments[key] for key in facts} == facts, name
    for _name, arguments in heard[2:]:
        assert {key: arguments[key] for key in FROM_ELSEWHERE} == FROM_ELSEWHERE
        assert arguments["by"] == ""
    assert heard[0][1]["adopted"] is False


def test_signals_say_who_ended_several_sessions(
    user: AbstractUser, make_user: Callable[..., AbstractUser], heard: Any
) -> None:
    grace = make_user("grace")
    for _ in range(2):
        Phone(user)
    heard.clear()
    with acting(grace, note="ticket 17"), used_by(Client("198.51.100.6", "curl/8")):
        sessions.end_all(user)
    assert len(heard) == 2
    for _name, arguments in heard:
        assert (arguments["by"], arguments["note"]) == (grace.pk, "ticket 17")
        assert {key: arguments[key] for key in FROM_PHONE} == FROM_PHONE
        assert {key: arguments[key] for key in FROM_ELSEWHERE} == FROM_ELSEWHERE


def test_the_limit_tells_which_device_it_ended(
    user: AbstractUser, heard: Any, settings: Any
) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = 1
    first = Phone(user)
    Phone(user)
    [(_, ended)] = [call for call in heard if call[0] == "session_ended"]
    assert (ended["sid"], ended["reason"]) == (first.sid, "limit")
    assert ended["ip_address"] == "203.0.113.7"


def test_the_first_refresh_of_a_plain_token_is_no_login(
    user: AbstractUser, heard: Any, settings: Any
) -> None:
    settings.TOKENS_PATCH_SIMPLEJWT = False
    from rest_framework_simplejwt.tokens import RefreshToken as Plain
    from rest_framework_simplejwt.tokens import Token

    plain = Token.for_user.__func__(Plain, user)  # type: ignore[attr-defined]
    APIClient().post("/api/token/refresh/", {"refresh": str(plain)}, **PHONE)
    [(name, arguments)] = heard
    assert (name, arguments["adopted"]) == ("session_started", True)
    assert {key: arguments[key] for key in FROM_PHONE} == FROM_PHONE


def test_log_records_have_the_same_fields(
    user: AbstractUser, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    with caplog.at_level(logging.INFO, "tokens"):
        phone = Phone(user)
        phone.post("token/refresh", {"refresh": phone.refresh}, **PHONE)
        phone.post("token/refresh", {"refresh": phone.refresh}, **THIEF)
        sessions.end_one(user, Phone(user).sid)
    ours = [record for record in caplog.records if record.name == "tokens"]
    found = {vars(record)["event"]: vars(record) for record in ours}
    assert list(found) == [
        "session_started",
        "session_ended",
        "refresh_reuse_detected",
        "sessions_ended",
    ]
    for event in ("session_ended", "refresh_reuse_detected"):
        facts = {"user_id": str(user.pk), "sid": phone.sid, **FROM_PHONE, **FROM_ELSEWHERE}
        assert {name: found[event][name] for name in facts} == facts
    assert found["sessions_ended"]["sessions"] == 1
    assert phone.refresh not in caplog.text


def test_what_was_rolled_back_is_not_logged(
    user: AbstractUser, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tokens"):
        with pytest.raises(RuntimeError, match="undo"), transaction.atomic():
            RefreshToken.for_user(user).blacklist()
            raise RuntimeError("undo")
        assert not caplog.records
        RefreshToken.for_user(user).blacklist()
    assert len(caplog.records) == 2


def test_facts_cost_no_statement(user: AbstractUser, statements: Any) -> None:
    phone, body = Phone(user), {"username": user.get_username(), "password": PASSWORD}
    with statements() as ran:
        assert phone.post("token", body | {"device_name": "Tablet"}, **PHONE).status_code == 200
    assert len(ran) == 2
    with statements() as ran:
        by_body(phone, **THIEF)
    assert len(ran) == 3


def test_the_snippet_for_code_of_ones_own(
    user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    page: dict[str, Any] = {}
    code = snippet("audit", language="python", beginning="from tokens import", folder=HOWTO)
    exec(code, page)  # noqa: S102
    phone, grace = Phone(user), make_user("grace")
    page["block"](user, support=grace, ticket=17)
    assert said(of(phone.sid), "by", "note") == {"by": str(grace.pk), "note": "ticket 17"}


class TestDeviceName:
    def test_it_is_listed(self, user: AbstractUser) -> None:
        phone = Phone(user, device_name="  Ada's phone\n")
        [row] = phone.api.get("/api/sessions/", **bearer(phone.access)).json()["results"]
        assert row["device_name"] == "Ada's phone"

    def test_a_refresh_keeps_it_or_renames_it(self, user: AbstractUser) -> None:
        phone = Phone(user, device_name="Ada's phone")
        body = {"refresh": phone.refresh}
        body = phone.post("token/refresh", body, **PHONE).json()
        assert TokenSession.objects.get().device_name == "Ada's phone"
        body = phone.post("token/refresh", body | {"device_name": "Tablet"}, **PHONE).json()
        assert TokenSession.objects.get().device_name == "Tablet"
        phone.post("token/refresh", body | {"device_name": ""}, **PHONE)
        assert TokenSession.objects.get().device_name == ""

    @pytest.mark.parametrize("name", ["x" * 101, ["a"], {"a": 1}, None, True])
    def test_a_bad_one_is_refused_and_nothing_is_lost(self, user: AbstractUser, name: Any) -> None:
        phone = Phone(user)
        body = {"refresh": phone.refresh, "device_name": name}
        answer = phone.api.post("/api/token/refresh/", body, format="json", **PHONE)
        assert answer.status_code == 400
        assert "detail" in answer.json()
        assert phone.post("token/refresh", {"refresh": phone.refresh}).status_code == 200

    def test_without_metadata_it_is_neither_kept_nor_listed(
        self, user: AbstractUser, settings: Any
    ) -> None:
        settings.TOKENS_SESSION_METADATA = False
        phone = Phone(user, device_name="Ada's phone")
        assert TokenSession.objects.get().device_name == ""
        [row] = phone.api.get("/api/sessions/", **bearer(phone.access)).json()["results"]
        assert "device_name" not in row
