"""A live system of simplejwt's moves: no revoked token is accepted meanwhile, every live one is."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import jwt
import pytest
import time_machine
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.contenttypes.models import ContentType
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from rest_framework.test import APIClient

from tokens import blacklist, clock, old_tables, sessions, simplejwt_import
from tokens.claims import Claims
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import adopted_sid, key_for
from tokens.models import BlacklistEntry, BlacklistImport, TokenSession
from tokens.simplejwt_import import NotImported
from tokens.simplejwt_import.tables import Blacklisted, Outstanding

from .conftest import DAY, HOUR, PASSWORD, bearer
from .leaving import (
    ROOT,
    blacklist_at_old_server,
    drop_by_hand,
    has_tables,
)
from .leaving import _old_project as _old_project
from .leaving import _until_the_module_ends as _until_the_module_ends
from .leaving import no_tables as no_tables
from .leaving import old as old
from .leaving import old_project as old_project
from .leaving import old_schema as old_schema
from .leaving import old_server as old_server
from .private_server import free_port
from .processes import PATIENCE, environment, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

LIVE = (
    *("live", "live_too", "successor", "access", "sliding", "device", "remembered"),
    *("sid_uuid", "sid_int", "sid_text", "nobody"),
)
REVOKED = (
    *("rotated", "logged_out", "everywhere", "everywhere_too", "sliding_out", "device_out"),
    *("remembered_out", "sid_uuid_out", "sid_int_out", "sid_text_out", "nobody_out"),
    *("gone", "gone_out"),
)
REFRESH = [name for name in LIVE if name not in ("access", "sliding", "device")]
FOREVER = timedelta(days=400)


def payload(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def jti(token: str) -> str:
    return str(payload(token)["jti"])


def sid_of(token: str) -> str:
    said = payload(token)
    return adopted_sid(said["jti"], issuer="", issued_at=clock.from_epoch(said["iat"]))


def refresh(token: str) -> Any:
    return APIClient().post("/api/token/refresh/", {"refresh": token})


def verify(token: str) -> int:
    return int(APIClient().post("/api/token/verify/", {"token": token}).status_code)


def accepted(tokens: dict[str, str]) -> dict[str, bool]:
    return {name: verify(token) == 200 for name, token in tokens.items()}


def entry(token: str) -> BlacklistEntry:
    return BlacklistEntry.objects.get(key=key_for("token", jti(token), issuer=""))


def run_import(**options: Any) -> simplejwt_import.Report:
    return simplejwt_import.run(**{"using": "default", "longest": FOREVER, **options})


def drop() -> simplejwt_import.Dropped:
    return simplejwt_import.drop(using="default", wait=timedelta(0))


RIGHT = dict.fromkeys(LIVE, True) | dict.fromkeys(REVOKED, False)


# The move, step by step


def test_after_each_step_the_same_tokens_are_accepted(old: dict[str, str]) -> None:
    assert set(old) == set(RIGHT)
    assert accepted(old) == RIGHT, "switched and migrated"
    run_import()
    assert accepted(old) == RIGHT, "imported"
    run_import(with_sessions=True)
    assert accepted(old) == RIGHT, "imported with sessions"
    drop()
    assert accepted(old) == RIGHT, "dropped"
    with time_machine.travel(clock.now() + 2 * DAY, tick=False):
        later = [name for name, good in accepted(old).items() if good]
        assert later == ["device", "remembered"]


@pytest.mark.parametrize("rotates", [True, pytest.param(False, marks=pytest.mark.any_database)])
@pytest.mark.parametrize("step", ["migrated", "imported", "with sessions", "dropped"])
def test_at_each_step_live_tokens_refresh_and_revoked_ones_do_not(
    old: dict[str, str], step: str, rotates: bool
) -> None:
    if step != "migrated":
        run_import(with_sessions=step == "with sessions")
    if step == "dropped":
        drop()
    rules = django_settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotates}
    with override_settings(SIMPLE_JWT=rules):
        for name in REVOKED:
            assert refresh(old[name]).status_code == 401, name
        for name in REFRESH:
            answer = refresh(old[name])
            assert answer.status_code == 200, (name, answer.json())
            new = answer.json().get("refresh", old[name])
            assert refresh(new).status_code == 200, name
    assert APIClient().get("/api/me/", **bearer(old["access"])).status_code == 200
    with time_machine.travel(clock.now() + 2 * DAY, tick=False):
        assert refresh(old["remembered_out"]).status_code == 401
        assert verify(old["device_out"]) == 401


# The rule of refusal


def test_a_check_takes_one_statement_and_asks_the_old_tables_only_if_they_are_there(
    old: dict[str, str], statements: Callable[[], Any]
) -> None:
    claims = Claims.of(RefreshToken(old["live"]))
    with statements() as ran:
        assert not blacklist.is_revoked(claims)
        AccessToken(old["access"])
    assert (len(ran), sum(old_tables.BLACKLISTED in sql for sql in ran)) == (2, 2)
    run_import()
    drop()
    with statements() as ran:
        assert not blacklist.is_revoked(claims)
        AccessToken(old["access"])
    assert (len(ran), sum(old_tables.BLACKLISTED in sql for sql in ran)) == (2, 0)


def test_without_the_tables_nothing_looks_for_them(
    no_tables: None, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    token = RefreshToken.for_user(user)
    with statements() as ran, time_machine.travel(clock.now() + 2 * DAY):
        blacklist.is_revoked(Claims.of(token))
        simplejwt_import.forget_users([user.pk], using="default")
    assert len(ran) == 1
    assert "token_blacklist" not in ran[0]


def test_an_access_token_of_a_session_does_not_ask_the_old_tables(
    old: dict[str, str], statements: Callable[[], Any]
) -> None:
    access = RefreshToken(refresh(old["live"]).json()["refresh"]).access_token
    with statements() as ran:
        assert not blacklist.is_revoked(Claims.of(access))
    assert old_tables.BLACKLISTED not in ran[0]


def test_a_process_notices_within_a_minute_that_the_tables_are_going(
    old: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_import()
    assert old_tables.are_asked("default")
    BlacklistImport.objects.update(dropping_since=clock.now())
    assert old_tables.are_asked("default")
    now = clock.elapsed()
    monkeypatch.setattr(clock, "elapsed", lambda: now + old_tables.LOOK_AGAIN + 1)
    assert not old_tables.are_asked("default")
    assert simplejwt_import.WAIT.total_seconds() > old_tables.LOOK_AGAIN


@pytest.mark.parametrize("kind", ["live", "successor", "sliding", "device"])
def test_tables_that_somebody_drops_break_no_check(old: dict[str, str], kind: str) -> None:
    assert verify(old[kind]) == 200
    drop_by_hand()
    assert verify(old[kind]) == 200


def test_in_a_transaction_one_check_fails_and_the_next_one_is_right(old: dict[str, str]) -> None:
    claims = Claims.of(RefreshToken(old["live"]))
    assert not blacklist.is_revoked(claims)
    drop_by_hand()
    with pytest.raises(DatabaseError), transaction.atomic():
        blacklist.is_revoked(claims)
    with transaction.atomic():
        assert not blacklist.is_revoked(claims)


def test_a_session_refreshes_although_somebody_drops_the_tables(old: dict[str, str]) -> None:
    token = refresh(old["live"]).json()["refresh"]
    assert verify(token) == 200
    drop_by_hand()
    assert verify(token) == 200
    assert refresh(token).status_code == 200


def test_a_move_of_the_tables_by_migrate_is_noticed(old_schema: None) -> None:
    assert old_tables.are_asked("default")
    drop_by_hand()
    call_command("migrate", "tokens", verbosity=0)
    assert not old_tables.may_be_there("default")


# The import


def test_it_copies_who_and_when_and_until_when(old: dict[str, str]) -> None:
    report = run_import()
    assert (report.read, report.imported, report.expired, report.known) == (12, 12, 0, 0)
    assert report.without_user == 2
    found = entry(old["logged_out"])
    ada = get_user_model().objects.get(username="ada")
    assert (found.scope, found.reason, found.user_id) == ("token", "imported", ada.pk)
    assert found.subject == jti(old["logged_out"])
    row = Blacklisted.objects.select_related("token").get(token__jti=found.subject)
    assert row.token.created_at is not None
    assert found.created_at == row.blacklisted_at
    assert found.expires_at == row.token.created_at + FOREVER
    assert entry(old["gone_out"]).user_id is None
    assert BlacklistImport.objects.count() == 1


def test_again_it_changes_nothing_and_a_longer_life_only_extends(old: dict[str, str]) -> None:
    run_import(longest=timedelta(days=2))
    before = list(BlacklistEntry.objects.order_by("key").values())
    again = run_import(longest=DAY)
    assert (again.imported, again.known) == (0, 12)
    assert list(BlacklistEntry.objects.order_by("key").values()) == before
    run_import(longest=None)
    assert set(BlacklistEntry.objects.values_list("expires_at", flat=True)) == {clock.end_of_time()}


def test_of_one_batch_some_are_known_and_some_are_new(old: dict[str, str]) -> None:
    run_import(longest=timedelta(days=2))
    gone = [entry(old[name]).pk for name in ("rotated", "logged_out", "everywhere")]
    BlacklistEntry.objects.filter(pk__in=gone).delete()
    assert run_import(dry_run=True).known == 9
    again = run_import()
    assert (again.imported, again.known) == (3, 9)
    assert (
        min(BlacklistEntry.objects.values_list("expires_at", flat=True)) > clock.now() + 399 * DAY
    )


@pytest.mark.skipif(connection.vendor != "postgresql", reason="shows where each row is")
def test_an_entry_that_lasts_long_enough_is_not_written_again(old: dict[str, str]) -> None:
    def places() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT key, ctid::text FROM {BlacklistEntry._meta.db_table} ORDER BY key"
            )
            return list(cursor.fetchall())

    run_import()
    before = places()
    run_import()
    assert places() == before


def test_moments_are_in_the_time_zone_of_the_connection(
    old: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'Asia/Tokyo'")
    else:
        monkeypatch.setattr(connection, "timezone", ZoneInfo("Asia/Tokyo"))
    run_import()
    row = Blacklisted.objects.select_related("token").get(token__jti=jti(old["logged_out"]))
    found = entry(old["logged_out"])
    assert row.token.created_at is not None
    assert found.expires_at == row.token.created_at + FOREVER
    assert found.created_at == row.blacklisted_at
    connection.close()


@pytest.mark.skipif(connection.vendor == "mysql", reason="stores no such moment")
@pytest.mark.parametrize("column", ["expires_at", "created_at"])
def test_no_row_is_left_out_for_a_moment_that_python_can_not_tell(
    old: dict[str, str], column: str
) -> None:
    never = "infinity" if connection.vendor == "postgresql" else "never"
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {old_tables.OUTSTANDING} SET {column} = %s", [never])
    assert run_import().imported == 12
    assert verify(old["logged_out"]) == 401


def test_what_has_expired_by_every_measure_is_left_out(old: dict[str, str]) -> None:
    with time_machine.travel(clock.now() + 2 * DAY, tick=False):
        short = run_import(longest=DAY)
        assert (short.imported, short.expired) == (1, 11)
        assert verify(old["device_out"]) == 401
        assert run_import(longest=3 * DAY).imported == 11
        assert verify(old["remembered_out"]) == 401


def test_a_stored_text_that_lives_longer_than_its_row_says_is_covered(old: dict[str, str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {old_tables.OUTSTANDING} SET token = %s, expires_at = created_at"
            " WHERE jti = %s",
            [old["remembered_out"], jti(old["remembered_out"])],
        )
    run_import(longest=timedelta(seconds=1))
    said = clock.from_epoch(payload(old["remembered_out"])["exp"])
    assert entry(old["remembered_out"]).expires_at == said


@pytest.mark.parametrize(
    "text",
    [
        *("", "ü.ü.ü"),
        *(
            pytest.param(text, marks=pytest.mark.any_database)
            for text in ("x", "a.b.c", "a.e30.c", "a.W10.c", "a.eyJleHAiOiJ4IiwiaWF0Ijp0cnVlfQ.c")
        ),
    ],
)
def test_no_row_is_left_out_for_its_text(old: dict[str, str], text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {old_tables.OUTSTANDING} SET token = %s, created_at = NULL", [text])
    assert run_import(with_sessions=True).imported == 12
    assert verify(old["logged_out"]) == 401


def test_the_issuer_of_the_text_counts_unless_one_is_configured(old: dict[str, str]) -> None:
    said = payload(old["logged_out"]) | {"iss": "elsewhere"}
    text = jwt.encode(said, "another key that is long enough for sha256", algorithm="HS256")
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {old_tables.OUTSTANDING} SET token = %s WHERE jti = %s", [text, said["jti"]]
        )
    run_import()
    assert BlacklistEntry.objects.filter(
        key=key_for("token", said["jti"], issuer="elsewhere")
    ).exists()
    with override_settings(SIMPLE_JWT=django_settings.SIMPLE_JWT | {"ISSUER": "us"}):
        run_import()
    assert BlacklistEntry.objects.filter(key=key_for("token", said["jti"], issuer="us")).exists()


def test_a_token_that_was_refreshed_here_before_it_was_blacklisted_takes_its_session_along(
    old: dict[str, str],
) -> None:
    new = refresh(old["live"]).json()
    blacklist_at_old_server(jti(old["live"]))
    assert verify(old["live"]) == 401
    assert run_import().sessions_ended == 1
    assert refresh(new["refresh"]).status_code == 401
    assert APIClient().get("/api/me/", **bearer(new["access"])).status_code == 401
    drop()
    assert refresh(new["refresh"]).status_code == refresh(old["live"]).status_code == 401


def test_many_rows_take_several_batches(
    old: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokens.simplejwt_import.reading.ROWS_IN_BATCH", 5)
    moved: list[int] = []
    assert run_import(with_sessions=True, progress=moved.append).imported == 12
    assert sum(moved) == simplejwt_import.count("default") - 12
    assert accepted(old) == RIGHT


def test_an_interrupted_import_keeps_what_it_did_and_is_not_on_record(
    old: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokens.simplejwt_import.reading.ROWS_IN_BATCH", 5)
    read = 0

    def interrupt(rows: int) -> None:
        nonlocal read
        read += rows
        if read > 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_import(progress=interrupt)
    assert 0 < BlacklistEntry.objects.count() < 12
    assert not BlacklistImport.objects.exists()
    assert accepted(old) == RIGHT
    run_import()
    assert BlacklistEntry.objects.count() == 12


def test_the_record_outlives_every_cleanup(old: dict[str, str]) -> None:
    run_import()
    BlacklistImport.objects.update(finished_at=clock.now() - timedelta(days=1000))
    call_command("cleanup_tokens", verbosity=0)
    assert simplejwt_import.pending("default").imported


# Sessions of simplejwt's logins


def test_old_logins_are_listed_ended_and_go_on(old: dict[str, str]) -> None:
    report = run_import(with_sessions=True)
    assert report.sessions_started == len([name for name in REFRESH if name != "nobody"])
    client = APIClient()
    listed = client.get("/api/sessions/", **bearer(old["access"])).json()["results"]
    assert {one["sid"] for one in listed} >= {sid_of(old["live"]), sid_of(old["live_too"])}
    new = refresh(old["live"]).json()
    session = TokenSession.objects.get(sid=sid_of(old["live"]))
    assert (session.refresh_jti, session.previous_jti) == (jti(new["refresh"]), jti(old["live"]))
    where = f"/api/sessions/{sid_of(old['live_too'])}/"
    assert client.delete(where, **bearer(new["access"])).status_code == 204
    assert refresh(old["live_too"]).status_code == verify(old["live_too"]) == 401
    assert refresh(new["refresh"]).status_code == 200
    assert run_import(with_sessions=True).sessions_started == 0


@pytest.mark.parametrize("rotates", [True, False])
def test_an_imported_login_ends_with_its_tokens(old: dict[str, str], rotates: bool) -> None:
    rules = django_settings.SIMPLE_JWT | {"ROTATE_REFRESH_TOKENS": rotates}
    run_import(with_sessions=True)
    with override_settings(SIMPLE_JWT=rules):
        access = refresh(old["live"]).json()["access"]
        user = get_user_model().objects.get(username="ada")
        assert sessions.end_one(user, sid_of(old["live"]))
        assert APIClient().get("/api/me/", **bearer(access)).status_code == 401
        assert refresh(old["live"]).status_code == 401


def test_an_imported_login_that_logs_out_with_its_old_token_is_gone(old: dict[str, str]) -> None:
    run_import(with_sessions=True)
    assert APIClient().post("/api/logout/", {"refresh": old["live"]}).status_code == 204
    assert not TokenSession.objects.filter(sid=sid_of(old["live"])).exists()
    assert verify(old["live"]) == 401


def test_reuse_of_an_imported_token_ends_its_session(old: dict[str, str], settings: Any) -> None:
    settings.TOKENS_ROTATION_GRACE = HOUR
    run_import(with_sessions=True)
    new = refresh(old["live"]).json()["refresh"]
    assert jti(refresh(old["live"]).json()["refresh"]) == jti(new), "a second tab"
    TokenSession.objects.update(rotated_at=clock.now() - DAY)
    assert refresh(old["live"]).status_code == 401
    assert refresh(new).status_code == 401


@pytest.mark.parametrize("way", ["end_one", "end_all", "token", "logout"])
def test_ending_an_imported_login_outlasts_a_token_that_lives_longer_than_its_row_says(
    old: dict[str, str], way: str
) -> None:
    run_import(with_sessions=True)
    drop()
    user = get_user_model().objects.get(username="ada")
    sid = sid_of(old["remembered"])
    if way == "end_one":
        sessions.end_one(user, sid)
    elif way == "end_all":
        sessions.end_all(user)
    elif way == "token":
        sessions.end(Claims.of(RefreshToken(old["remembered"])))
    else:
        APIClient().post("/api/logout/", {"refresh": old["remembered"]})
    real = clock.from_epoch(payload(old["remembered"])["exp"])
    now = clock.now()
    with time_machine.travel(real - timedelta(minutes=1), tick=False):
        assert verify(old["remembered"]) == 401
    keys = [key_for("token", jti(old["remembered"]), issuer=""), sid]
    lasting = BlacklistEntry.objects.filter(key__in=keys, expires_at__gte=real)
    assert lasting.exists(), now


def test_sessions_are_not_made_of_what_is_refused(old: dict[str, str]) -> None:
    sessions.end_all(get_user_model().objects.get(username="ada"))
    assert run_import(with_sessions=True).sessions_started == 0


def test_sessions_are_not_made_for_users_who_may_not_log_in(old: dict[str, str]) -> None:
    get_user_model().objects.filter(username="ada").update(is_active=False)
    assert run_import(with_sessions=True).sessions_started == 0


def test_a_password_that_changes_after_the_import_refuses_the_old_login(
    old: dict[str, str],
) -> None:
    run_import(with_sessions=True)
    user = get_user_model().objects.get(username="ada")
    user.set_password("another one")
    get_user_model().objects.filter(pk=user.pk).update(password=user.password)
    assert refresh(old["live"]).status_code == 401


def test_a_token_blacklisted_after_its_session_was_imported_ends_it(old: dict[str, str]) -> None:
    run_import(with_sessions=True)
    blacklist_at_old_server(jti(old["live"]))
    assert verify(old["live"]) == refresh(old["live"]).status_code == 401
    assert run_import(with_sessions=True).sessions_ended == 1
    assert not TokenSession.objects.filter(sid=sid_of(old["live"])).exists()


# Deleting users


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("bulk", [False, True])
def test_users_can_be_deleted_while_the_old_tables_are_there(
    old: dict[str, str], bulk: bool, counts: bool, settings: Any
) -> None:
    if not counts:
        settings.TOKENS_REVOKE_ON = ("password_change",)
    ada = get_user_model().objects.get(username="ada")
    get_user_model().objects.filter(pk=ada.pk).delete() if bulk else ada.delete()
    assert {name for name, good in accepted(old).items() if good} == {"nobody"}
    assert run_import().without_user == 12 - 2  # bob's two
    get_user_model().objects.all().delete()
    drop()


def test_the_old_tables_forget_users_in_a_few_statements(
    old: dict[str, str], statements: Callable[[], Any]
) -> None:
    with statements() as ran:
        simplejwt_import.forget_users(range(10**6, 10**6 + 400), using="default")
    assert sum("UPDATE" in sql for sql in ran) == 1
    with statements() as ran:
        get_user_model().objects.all().delete()
    assert sum("UPDATE" in sql and old_tables.OUTSTANDING in sql for sql in ran) == 1


# The command


def command(*arguments: str, **options: Any) -> dict[str, Any]:
    from io import StringIO

    out = StringIO()
    call_command("import_simplejwt_blacklist", *arguments, format="json", stdout=out, **options)
    return dict(json.loads(out.getvalue()))


def refused(*arguments: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(CommandError) as error:
        command(*arguments, **options)
    return error.value.returncode, str(error.value)


def test_the_command_copies_and_drops(old: dict[str, str]) -> None:
    dry = command("--dry-run", "--with-sessions")
    assert (dry["imported"], dry["sessions_started"], dry["dry_run"]) == (12, 7, True)
    assert not BlacklistEntry.objects.exists()
    assert not TokenSession.objects.exists()
    assert not BlacklistImport.objects.exists()
    code, said = refused("--drop", "--wait=0")
    assert (code, "No import is on record" in said) == (2, True)
    assert has_tables()
    done = command("--with-sessions")
    assert done == dry | {"dry_run": False}
    blacklist_at_old_server(jti(old["live"]))
    code, said = refused("--drop", "--wait=0")
    assert (code, "more since the last import" in said) == (2, True)
    assert command()["imported"] == 1
    assert command("--drop", "--wait=0") == {"tables": 2, "migrations": 12, "content_types": 2}
    assert not has_tables()
    assert command("--drop", "--wait=0") == {"tables": 0, "migrations": 0, "content_types": 0}
    assert command()["tables"] is False
    assert verify(old["live"]) == 401


@pytest.mark.any_database
@pytest.mark.parametrize(
    "arguments",
    [
        ["--longest-lifetime=10"],
        ["--longest-lifetime=-1d"],
        ["--longest-lifetime=99999999d"],
        ["--wait=5"],
        ["--drop", "--wait=-1"],
        ["--drop", "--wait=x"],
        ["--drop", "--dry-run"],
        ["--drop", "--with-sessions"],
        ["--drop", "--longest-lifetime=1d"],
        ["--database=nowhere"],
    ],
)
def test_a_wrong_option_exits_with_2(arguments: list[str]) -> None:
    assert refused(*arguments)[0] == 2


def test_the_tables_stay_while_simplejwts_app_is_installed(
    old: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_import()
    monkeypatch.setattr("django.apps.registry.Apps.is_installed", lambda *_: True)
    assert refused("--drop", "--wait=0")[0] == 2
    assert has_tables()


def test_an_interrupted_command_exits_with_1(
    old: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tokens.simplejwt_import.work._refuse", interrupt)
    assert refused()[0] == 1
    assert not BlacklistImport.objects.exists()


def test_a_drop_that_is_interrupted_asks_the_tables_again(old: dict[str, str]) -> None:
    run_import()

    def interrupt(_seconds: float) -> None:
        assert not old_tables.look(using="default").are_asked
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simplejwt_import.drop(using="default", sleep=interrupt)
    assert old_tables.are_asked("default")
    assert accepted(old) == RIGHT


def test_a_server_that_blacklists_while_the_tables_are_going_keeps_them(
    old: dict[str, str],
) -> None:
    run_import()
    with pytest.raises(NotImported):
        simplejwt_import.drop(
            using="default", sleep=lambda _: blacklist_at_old_server(jti(old["live"]))
        )
    assert verify(old["live"]) == 401


def test_simplejwts_app_can_be_installed_again(
    old: dict[str, str], old_project: Callable[[str], dict[str, str]]
) -> None:
    run_import()
    assert ContentType.objects.filter(app_label=old_tables.APP).exists()
    drop()
    assert not MigrationRecorder(connection).migration_qs.filter(app=old_tables.APP).exists()
    assert not ContentType.objects.filter(app_label=old_tables.APP).exists()
    assert not BlacklistImport.objects.exists()
    get_user_model().objects.all().delete()
    made = old_project("make")
    assert accepted(made) == RIGHT


# The check


def errors() -> list[str]:
    return [str(one.id) for one in run_checks(databases=["default"]) if one.id == "tokens.E029"]


def test_check_demands_the_import_until_all_is_read(old: dict[str, str]) -> None:
    assert errors() == ["tokens.E029"]
    run_import()
    assert errors() == []
    blacklist_at_old_server(jti(old["live"]))
    assert errors() == ["tokens.E029"]
    run_import()
    drop()
    assert errors() == []


def test_check_is_content_with_tables_that_refuse_nothing(old_schema: None) -> None:
    assert errors() == []


def test_check_is_content_if_all_has_expired(old: dict[str, str], settings: Any) -> None:
    settings.TOKENS_LONGEST_LIFETIME = DAY
    with time_machine.travel(clock.now() + 40 * DAY, tick=False):
        assert errors() == []


@pytest.mark.any_database
def test_plain_check_asks_and_survives_a_database_that_is_down(
    old: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain() -> list[str]:
        return [str(one.id) for one in run_checks() if one.id == "tokens.E029"]

    assert plain() == []
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])
    assert plain() == ["tokens.E029"]

    def fail(*_: Any) -> None:
        raise DatabaseError

    with monkeypatch.context() as broken:
        broken.setattr(connection, "cursor", fail)
        assert plain() == []


@pytest.mark.any_database
@pytest.mark.parametrize("options", [[], ["--database=default"], ["--deploy", "--data", "default"]])
def test_check_tells_it_once(
    old: dict[str, str], options: list[str], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "check", *options])
    with pytest.raises(SystemCheckError) as told:
        call_command("check", *options)
    assert str(told.value).count("tokens.E029") == 1


# Old and new servers side by side


@pytest.fixture
def new_server(old: dict[str, str]) -> Iterator[httpx.Client]:
    """A server of ours in processes of its own, on the database of the test."""
    port = free_port()
    bind = f"127.0.0.1:{port}"
    with (
        subprocess.Popen(
            shlex.split(
                f"{sys.executable} -m gunicorn --no-control-socket --bind {bind}"
                " project.wsgi:application"
            ),
            cwd=ROOT,
            env=environment(DJANGO_SETTINGS_MODULE="tests.settings"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as child,
        # Without TLS there is no need to read all of the system's certificates.
        httpx.Client(base_url=f"http://{bind}/api/", timeout=PATIENCE, verify=False) as client,  # noqa: S501
    ):
        try:
            wait_until(lambda: child.poll() is None and _answers(client))
            yield client
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(PATIENCE)


def post(server: httpx.Client, path: str, **body: str) -> tuple[int, dict[str, str]]:
    answer = server.post(path, data=body)
    return answer.status_code, answer.json()


def _answers(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("token/").status_code == 405
    return False


def test_old_and_new_servers_side_by_side_revive_no_token_and_take_none_for_stolen(
    old: dict[str, str],
    old_server: httpx.Client,
    new_server: httpx.Client,
) -> None:
    before, after = (partial(post, server) for server in (old_server, new_server))

    def refreshed(server: Any, token: str) -> str:
        status, body = server("token/refresh/", refresh=token)
        assert status == 200, body
        return str(body["refresh"])

    def refused(token: str) -> bool:
        return bool(after("token/refresh/", refresh=token)[0] == 401)

    for name in REVOKED:
        assert refused(old[name]), name
    # Forward, back, and forward again: nobody is logged out, and nothing used works again.
    chain = [old["live"]]
    for server in (after, before, after, before, before, after, after):
        chain.append(refreshed(server, chain[-1]))
    assert after("token/verify/", token=chain[-1])[0] == 200
    # Logged out at an old server, at once after the import too.
    login = {"username": "ada", "password": PASSWORD}
    first = after("token/", **login)[1]["refresh"]
    second = before("token/", **login)[1]["refresh"]
    run_import()
    for token in (first, second):
        token = refreshed(before, token)
        assert before("token/blacklist/", refresh=token)[0] == 200
        assert refused(token)
        assert after("token/verify/", token=token)[0] == 401
    # A token that an old server has made is known here after the old tables are gone.
    last = refreshed(before, refreshed(after, old["live_too"]))
    run_import()
    drop()
    refreshed(after, last)
    assert refused(first)
    assert refused(second)


def test_a_token_of_an_old_server_works_once(
    old: dict[str, str],
    old_server: httpx.Client,
    settings: Any,
) -> None:
    settings.TOKENS_ROTATION_GRACE = HOUR
    ours = refresh(old["live"]).json()["refresh"]
    theirs = post(old_server, "token/refresh/", refresh=ours)[1]["refresh"]
    assert payload(theirs)["sid"] == payload(ours)["sid"]
    assert refresh(ours).status_code == 401, "used at the old server"
    first, second = refresh(theirs), refresh(theirs)
    assert first.status_code == second.status_code == 200
    assert jti(first.json()["refresh"]) == jti(second.json()["refresh"]), "within the grace period"
    TokenSession.objects.update(rotated_at=clock.now() - DAY)
    assert refresh(theirs).status_code == 401, "reused"
    assert refresh(first.json()["refresh"]).status_code == 401, "so the session has ended"


@pytest.mark.usefixtures("old")
def test_a_token_of_an_old_server_renews_the_hash_of_its_session_as_others_do(
    settings: Any,
) -> None:
    user = get_user_model()._default_manager.create_user("eve", password=PASSWORD)
    token = RefreshToken.for_user(user)
    token.set_jti()  # what simplejwt does to a token that it refreshes
    Outstanding.objects.create(
        jti=token["jti"],
        user_id=str(user.pk),
        token=str(token),
        created_at=clock.now(),
        expires_at=token.claims.expires_at,
    )
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new secret that is long enough to be one"
    answer = APIClient().post("/api/token/refresh/", {"refresh": str(token)})
    assert answer.status_code == 200
    session = TokenSession.objects.get(sid=token["sid"])
    assert session.auth_hash == user.get_session_auth_hash()
