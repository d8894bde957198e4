import logging
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AbstractUser, Permission, User
from django.core import checks
from django.db import connection
from django.db.models import Model
from django.test import Client, override_settings
from django.urls import path, reverse

from tokens import blacklist, clock, sessions
from tokens.admin import BlacklistEntryAdmin, CleanupRunAdmin, TokenSessionAdmin, moments
from tokens.admin.entries import EntryList
from tokens.admin.lists import CappedPaginator
from tokens.admin.search import MAX_USERS, user_keys, users_named
from tokens.admin.sessions import SessionList
from tokens.entries import readable, subject_shown_as
from tokens.keys import key_for, new_sid
from tokens.models import BlacklistEntry, CleanupRun, TokenSession
from tokens.querysets import RARE_REASONS

pytestmark = pytest.mark.django_db

HOSTILE = [
    "\0",
    "a\0b",
    "x" * 5000,
    "🙂" * 60,
    "<script>alert(1)</script>",
    "%_\\",
    "\\d \\x \\ud800 \\U0010ffff",
    "' OR 1=1 --",
    "1" * 400,
    "::1",
    "\ud7ff\U0010ffff",
    "  ",
    "00000000-0000-8000-8000-000000000000",  # no UUID for MariaDB
    "00000000-0000-f000-0000-000000000000",
]
LISTS = ["blacklistentry", "tokensession", "cleanuprun"]
SECRETS = {"refresh_jti": "newest-id", "previous_jti": "older-id", "auth_hash": "hash-of-it"}


support = admin.AdminSite(name="support")
support.register(BlacklistEntry, BlacklistEntryAdmin)
support.register(TokenSession, TokenSessionAdmin)
support.register(CleanupRun, CleanupRunAdmin)
urlpatterns = [path("support/", support.urls)]


def page(model: str, view: str = "changelist", *args: object) -> str:
    return reverse(f"admin:tokens_{model}_{view}", args=args)


def make_entry(subject: str = "", scope: str = "token", **fields: Any) -> BlacklistEntry:
    subject = subject or uuid.uuid4().hex
    if scope == "user":
        fields.setdefault("issued_before", clock.now())
    fields.setdefault("expires_at", clock.now() + timedelta(hours=1))
    key = uuid.UUID(subject) if scope == "session" else key_for(scope, subject, issuer="")
    return BlacklistEntry.objects.create(key=key, scope=scope, subject=readable(subject), **fields)


def make_session(user: Any, **fields: Any) -> TokenSession:
    expires_at = clock.now() + timedelta(days=1)
    values = (
        {"sid": uuid.UUID(new_sid()), "user": user, "expires_at": expires_at} | SECRETS | fields
    )
    return TokenSession.objects.create(**values)


def make_run(**fields: Any) -> CleanupRun:
    return CleanupRun.objects.create(trigger="command", host="web-1", **fields)


def fill(user: Any, count: int) -> None:
    end = clock.now() + timedelta(hours=1)
    BlacklistEntry.objects.bulk_create(
        BlacklistEntry(key=uuid.uuid4(), scope="token", subject=str(i), user=user, expires_at=end)
        for i in range(count)
    )
    TokenSession.objects.bulk_create(
        TokenSession(sid=new_sid(), user=user, expires_at=end) for _ in range(count)
    )
    CleanupRun.objects.bulk_create(CleanupRun(trigger="command") for _ in range(count))


@pytest.fixture
def viewer(staff: Callable[..., Client]) -> Client:
    return staff(*(f"view_{model}" for model in LISTS))


@pytest.fixture
def unrevoker(staff: Callable[..., Client]) -> Client:
    return staff("view_blacklistentry", "unrevoke_blacklistentry")


@pytest.fixture
def root(staff: Callable[..., Client]) -> Client:
    return staff(is_superuser=True)


@pytest.fixture
def rows(user: User) -> dict[str, Model]:
    return {
        "blacklistentry": make_entry(user=user),
        "tokensession": make_session(user, ip_address="203.0.113.7", user_agent="curl/8"),
        "cleanuprun": make_run(outcome="failed", error="it broke", entries_removed=1234567),
    }


# What the pages show


@pytest.mark.any_database
@pytest.mark.parametrize("model", LISTS)
@pytest.mark.parametrize("who", ["viewer", "root"])
def test_lists_and_details_are_shown(
    request: pytest.FixtureRequest, rows: Any, model: Any, who: str
) -> None:
    client = request.getfixturevalue(who)
    assert client.get(page(model)).status_code == 200
    detail = client.get(page(model, "change", rows[model].pk))
    assert detail.status_code == 200
    assert 'name="_save"' not in detail.text


@pytest.mark.any_database
@pytest.mark.parametrize("model", LISTS)
def test_nothing_is_shown_without_the_right_to_view(
    staff: Callable[..., Client], rows: Any, model: Any
) -> None:
    client = staff("delete_user")
    assert client.get(page(model)).status_code == 403
    assert client.get(page(model, "change", rows[model].pk)).status_code == 403


@pytest.mark.any_database
@pytest.mark.parametrize("model", LISTS)
def test_an_empty_list_is_shown(viewer: Any, model: Any) -> None:
    assert viewer.get(page(model)).status_code == 200


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("hours", "listed", "text"),
    [(20, "in 19\xa0hours", "in force"), (-1, "over", "over")],
    ids=["in force", "expired"],
)
def test_the_status_reads_without_its_colour(
    viewer: Any, hours: int, listed: str, text: str
) -> None:
    entry = make_entry(expires_at=clock.now() + timedelta(hours=hours))
    assert f">{listed}</" in viewer.get(page("blacklistentry")).text
    assert f">{text}</span>" in viewer.get(page("blacklistentry", "change", entry.pk)).text


@override_settings(SIMPLE_JWT={"LEEWAY": 3600})
def test_an_entry_is_in_force_while_simplejwts_leeway_lasts() -> None:
    entry = make_entry(expires_at=clock.now() - timedelta(minutes=30))
    assert entry.in_force
    assert BlacklistEntry.objects.in_force().get() == entry


@pytest.mark.any_database
def test_subjects_and_user_agents_are_escaped(root: Any, user: AbstractUser) -> None:
    evil = "<script>alert(1)</script>"
    entry = make_entry(evil)
    session = make_session(user, user_agent=evil)
    make_run(error=evil, outcome="failed")
    for url in (
        page("blacklistentry"),
        page("blacklistentry", "change", entry.pk),
        page("blacklistentry", "delete", entry.pk),
        page("tokensession"),
        page("tokensession", "change", session.pk),
        page("cleanuprun"),
    ):
        answer = root.get(url)
        assert ">History<" not in answer.text
        assert evil not in answer.text
        assert "&lt;script&gt;" in answer.text


@pytest.mark.any_database
def test_long_subjects_are_cut_in_the_list_and_whole_in_the_detail(viewer: Any) -> None:
    entry = make_entry("x" * 250)
    text = viewer.get(page("blacklistentry")).text
    assert f"…{'x' * 7}<" in text
    assert f'title="{"x" * 250}"' in text
    assert f">{'x' * 250}<" in viewer.get(page("blacklistentry", "change", entry.pk)).text


@pytest.mark.any_database
def test_no_page_shows_a_token_or_what_a_session_keeps_for_itself(
    root: Any, user: AbstractUser, log_in: Callable[..., Any]
) -> None:
    login = log_in(user)
    session = TokenSession.objects.get()
    known = {login.access, login.refresh_token, session.refresh_jti, session.auth_hash}
    login.refresh()
    known |= set(TokenSession.objects.values_list("refresh_jti", "previous_jti").get())
    urls = [page("tokensession"), page("tokensession", "change", session.pk)]
    texts = [root.get(url).text for url in urls]
    login.logout()
    entry = BlacklistEntry.objects.get()
    urls = [page("blacklistentry", view, entry.pk) for view in ("change", "delete")]
    texts += [root.get(url).text for url in [page("blacklistentry"), *urls]]
    assert all(texts)
    assert not [secret for secret in known for text in texts if secret in text]


@pytest.mark.any_database
def test_a_user_is_a_link_and_one_who_is_gone_an_id(
    staff: Callable[..., Client], user: AbstractUser
) -> None:
    viewer = staff("view_blacklistentry", "view_user")
    make_entry(user=user)
    gone = make_entry(user_id=987654)
    text = viewer.get(page("blacklistentry")).text
    assert f'<a href="/admin/auth/user/{user.pk}/change/">ada</a>' in text
    assert "987654 (deleted)" in text
    assert "987654 (deleted)" in viewer.get(page("blacklistentry", "change", gone.pk)).text


@pytest.mark.any_database
def test_a_session_whose_user_is_gone_is_shown(viewer: Any) -> None:
    session = make_session(None, user_id=987654)
    assert "987654 (deleted)" in viewer.get(page("tokensession")).text
    assert "987654 (deleted)" in viewer.get(page("tokensession", "change", session.pk)).text


@pytest.mark.any_database
@pytest.mark.urls(__name__)
def test_an_admin_site_of_ones_own_works_without_user_pages(root: Any, rows: Any) -> None:
    for model, row in rows.items():
        url = reverse(f"support:tokens_{model}_changelist")
        assert root.get(url).status_code == 200
        assert root.get(f"{url}{row.pk}/change/").status_code == 200
    text = root.get(reverse("support:tokens_blacklistentry_changelist")).text
    assert ">ada<" in text
    assert "/auth/user/" not in text


@pytest.mark.any_database
def test_runs_are_listed_newest_first_with_numbers_one_can_read(viewer: Any) -> None:
    start = clock.now() - timedelta(hours=3)
    make_run(started_at=start, finished_at=start + timedelta(seconds=4021), outcome="succeeded")
    make_run(started_at=start, outcome="running", entries_removed=1234567)
    killed = make_run(started_at=start, heartbeat_at=start, outcome="running")
    # Django 6.1 has the filters, which name the outcomes too, before the list.
    text = viewer.get(page("cleanuprun")).text.split('id="result_list"')[1]
    assert text.index(">abandoned<") < text.index(">running<")
    assert ">abandoned<" in viewer.get(page("cleanuprun", "change", killed.pk)).text
    assert text.index(">running<") < text.index(">succeeded<")
    assert "1:07:01" in text
    assert "1,234,567" in text


# Cost


QUERIES = ["?q=ad", "?p=2", "?status=expired", "?revoked=day", "?reason__exact=revoked"]


def count_statements(client: Client, url: str, statements: Any) -> int:
    client.get(url)
    with statements() as ran:
        assert client.get(url).status_code == 200
    return len(ran)


def test_lists_searches_filters_and_pages_cost_no_more_for_100_rows_than_for_12(
    viewer: Any,
    user: AbstractUser,
    statements: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for kind in (BlacklistEntryAdmin, TokenSessionAdmin, CleanupRunAdmin):
        monkeypatch.setattr(kind, "list_per_page", 10)
    queries = [page("blacklistentry") + query for query in QUERIES]
    urls = [*map(page, LISTS), *queries]
    fill(user, 12)
    few = {url: count_statements(viewer, url, statements) for url in urls}
    fill(user, 88)
    assert {url: count_statements(viewer, url, statements) for url in urls} == few
    assert max(few[url] for url in queries) <= 10


@pytest.mark.parametrize("model", LISTS)
def test_no_list_counts_the_whole_table(
    viewer: Any, user: AbstractUser, statements: Callable[[], Any], model: Any
) -> None:
    fill(user, 60)
    with statements() as ran:
        viewer.get(page(model))
    counts = [sql for sql in ran if "COUNT(" in sql.upper()]
    assert counts
    assert all("LIMIT 10001" in sql for sql in counts), counts


@pytest.mark.any_database
def test_users_who_are_gone_cost_no_statement_each(
    viewer: Any, statements: Callable[[], Any]
) -> None:
    make_session(None, user_id=1000)
    few = count_statements(viewer, page("tokensession"), statements)
    for number in range(20):
        make_session(None, user_id=1001 + number)
    assert count_statements(viewer, page("tokensession"), statements) == few


@pytest.mark.any_database
def test_a_list_that_is_longer_than_it_counts_says_so(
    viewer: Any, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CappedPaginator, "cap", 100)
    fill(user, 100)
    assert "100 blacklist entries" in viewer.get(page("blacklistentry")).text
    fill(user, 1)
    text = viewer.get(page("blacklistentry")).text
    assert "100+ blacklist entries" in text
    assert "100 results" not in text
    assert viewer.get(page("blacklistentry") + "?p=3").status_code == 302
    assert "100+ sessions" in viewer.get(page("tokensession") + "?q=ada").text


@pytest.mark.any_database
@pytest.mark.parametrize("column", range(8))
def test_a_list_sorts_by_no_column_without_an_index(
    viewer: Any, user: AbstractUser, statements: Callable[[], Any], column: Any
) -> None:
    make_entry(user=user)
    with statements() as ran:
        assert viewer.get(page("blacklistentry") + f"?o={column}").status_code == 200
    sorted_by = [sql.split("ORDER BY")[1].split(",")[0] for sql in ran if "ORDER BY" in sql]
    assert all(("expires_at" if column == 4 else "created_at") in first for first in sorted_by)
    assert sorted_by


# Search and filters


@pytest.fixture
def found(viewer: Client) -> Callable[..., list[Any]]:
    def search(model: str, **parameters: str) -> list[Any]:
        answer = viewer.get(page(model), parameters)
        assert answer.status_code == 200
        return list(answer.context["cl"].result_list)

    return search


@pytest.mark.parametrize("subject", ["4f2c", "ünï\n🙂", "a\\x41", "<script>", "x" * 300])
def test_entries_are_found_by_the_exact_jti(found: Any, subject: Any) -> None:
    entry = make_entry(subject)
    make_entry("other")
    assert found("blacklistentry", q=f" {subject} ") == [entry]
    assert found("blacklistentry", q=str(entry.key)) == [entry]
    assert found("blacklistentry", q=subject[:-1]) == []


@pytest.mark.parametrize("subject", ["ünï 🙂\n.", "tab\t\\x41", "\x7f"])
def test_entries_are_found_by_the_subject_as_the_list_shows_it(found: Any, subject: str) -> None:
    entry = make_entry(subject)
    assert subject_shown_as(entry.subject) == subject
    assert found("blacklistentry", q=entry.subject) == [entry]


def test_entries_are_found_by_session_and_by_user_id(found: Any, user: AbstractUser) -> None:
    sid = new_sid()
    session = make_entry(sid, scope="session")
    everything = make_entry(str(user.pk), scope="user")
    assert found("blacklistentry", q=sid) == [session]
    assert found("blacklistentry", q=str(user.pk)) == [everything]


@override_settings(SIMPLE_JWT={"USER_ID_FIELD": "email"})
def test_the_entry_of_a_user_is_found_by_name_key_and_id_and_shows_the_key(
    found: Any, viewer: Client, make_user: Callable[..., AbstractUser]
) -> None:
    user = make_user("ada", email="ada@example.com")
    blacklist.revoke_user(make_user("grace").pk, "grace@example.com")
    entry, _ = blacklist.revoke_user(user.pk, user.email)
    for term in ("ada", str(user.pk), "ada@example.com"):
        assert found("blacklistentry", q=term) == [entry]
    assert entry.subject == str(user.pk)
    text = viewer.get(page("blacklistentry", "change", entry.pk)).text
    assert "ada@example.com" not in text
    user.delete()
    assert found("blacklistentry", q="ada@example.com") == [entry]


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("term", "keys"),
    [("7", [7]), (" 7 ", [7]), ("ada", []), ("9" * 30, []), ("7\0", []), ("1.5", []), ("", [])],
)
def test_the_key_of_a_user_is_read_from_a_term(term: str, keys: list[int]) -> None:
    assert user_keys(term) == keys


@override_settings(SIMPLE_JWT={"ISSUER": "https://issuer.example"})
def test_the_search_knows_the_issuer_of_our_tokens(found: Any) -> None:
    key = key_for("token", "jti", issuer="https://issuer.example")
    BlacklistEntry.objects.create(key=key, scope="token", subject="jti", expires_at=clock.now())
    assert len(found("blacklistentry", q="jti")) == 1


@pytest.mark.parametrize("model", ["blacklistentry", "tokensession"])
def test_rows_are_found_by_the_beginning_of_the_users_name(
    found: Any, make_user: Callable[..., AbstractUser], model: str
) -> None:
    make = make_session if model == "tokensession" else lambda user: make_entry(user=user)
    rows = {name: make(make_user(name)) for name in ("ada", "ada.lovelace", "bob", "mada")}
    assert found(model, q="bob") == [rows["bob"]]
    assert {row.pk for row in found(model, q="ada")} == {rows["ada"].pk, rows["ada.lovelace"].pk}
    assert found(model, q="lovelace") == []


@pytest.mark.parametrize("model", ["blacklistentry", "tokensession"])
def test_rows_are_found_by_name_and_address_in_any_letter_case(
    found: Any, make_user: Callable[..., AbstractUser], model: str
) -> None:
    make = make_session if model == "tokensession" else lambda user: make_entry(user=user)
    row = make(make_user("ada", email="ada@example.com"))
    make(make_user("bob", email="bob@example.com"))
    for term in ("ADA", "aDa", "ada@example.com", "Ada@Example.COM"):
        assert found(model, q=term) == [row], term


def test_sessions_are_found_by_sid_and_ip_address(found: Any, user: AbstractUser) -> None:
    four = make_session(user, ip_address="203.0.113.7")
    six = make_session(user, ip_address="2001:db8::1")
    assert found("tokensession", q=str(four.sid).upper()) == [four]
    assert found("tokensession", q="203.0.113.7") == [four]
    assert found("tokensession", q="2001:DB8:0::1") == [six]
    assert found("tokensession", q="203.0.113") == []


@pytest.mark.any_database
def test_a_name_that_begins_many_names_is_searched_so_far_and_says_so(
    viewer: Any, found: Any
) -> None:
    User.objects.bulk_create(User(username=f"many{i:03}") for i in range(MAX_USERS + 1))
    exact = User.objects.create(username="many")
    entry = make_entry(user=exact)
    assert users_named("many")[0][0] == exact.pk
    assert found("blacklistentry", q="many") == [entry]
    text = viewer.get(page("blacklistentry"), {"q": "many"}).text
    assert f"The list covers {MAX_USERS} of these users only." in text


@pytest.mark.parametrize("model", ["blacklistentry", "tokensession"])
def test_an_odd_search_term_is_a_search_without_result(viewer: Any, rows: Any, model: str) -> None:
    for term in HOSTILE:
        answer = viewer.get(page(model), {"q": term})
        assert answer.status_code == 200, ascii(term)
        assert "<script>alert" not in answer.text, ascii(term)


def test_user_names_that_are_not_text_are_no_trouble(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User, "USERNAME_FIELD", "id")
    assert users_named("abc") == ([], True)
    assert users_named(str(user.pk))[0][0] == user.pk


def test_entries_are_listed_newest_first_and_filtered_by_when_whether_what_and_why(
    found: Any,
) -> None:
    now = clock.now()
    ages = (timedelta(minutes=5), timedelta(hours=3), timedelta(days=3), timedelta(days=30))
    minutes, hours, days, month = (
        make_entry(created_at=now - age, expires_at=now + timedelta(days=number))
        for number, age in enumerate(ages, start=-2)
    )
    BlacklistEntry.objects.filter(pk=hours.pk).update(reason="reuse")
    sid = make_entry(new_sid(), scope="session", created_at=now - timedelta(days=5))
    assert found("blacklistentry") == [minutes, hours, days, sid, month]
    assert found("blacklistentry", o="3") == [month, sid, days, hours, minutes]
    assert found("blacklistentry", o="-4") == [month, sid, days, hours, minutes]
    assert found("blacklistentry", status="in_force") == [sid, month]
    assert found("blacklistentry", status="expired") == [days, hours, minutes]
    assert found("blacklistentry", revoked="hour") == [minutes]
    assert found("blacklistentry", revoked="day") == [minutes, hours]
    assert found("blacklistentry", revoked="week") == [minutes, hours, days, sid]
    assert found("blacklistentry", scope__exact="session") == [sid]
    assert found("blacklistentry", reason__exact="reuse") == [hours]
    assert found("blacklistentry", status="nonsense", revoked="x") == found("blacklistentry")


LOOKED_THROUGH: list[tuple[dict[str, str], int | None]] = [
    ({"reason__exact": "reuse"}, 3),
    ({"reason__exact": "reuse", "o": "3"}, 3),
    ({"reason__exact": "reuse", "status": "in_force"}, 3),
    ({"reason__exact": "reuse", "status": "expired"}, None),
    ({"reason__exact": "reuse", "revoked": "hour"}, 3),
    ({"reason__exact": "reuse", "revoked": "hour", "o": "3"}, 3),
    ({"reason__exact": "reuse", "o": "4"}, 3),
    ({"scope__exact": "token"}, 3),
    ({"reason__exact": "reuse", "user": "1"}, None),
    ({"reason__exact": "reuse", "q": "nobody"}, None),
    ({"status": "in_force"}, None),
    ({}, None),
]


def test_a_filter_without_an_index_looks_through_so_many_rows_and_says_so(
    viewer: Any,
    monkeypatch: pytest.MonkeyPatch,
    statements: Callable[[], Any],
) -> None:
    monkeypatch.setattr(EntryList, "LOOKED_THROUGH", 3)
    now = clock.now()
    for number in range(6):
        made, end = now - timedelta(minutes=10 * number + 5), now + timedelta(minutes=60 - number)
        make_entry(created_at=made, expires_at=end, reason="reuse")
    for parameters, looked_through in LOOKED_THROUGH:
        with statements() as ran:
            answer = viewer.get(page("blacklistentry"), parameters)
        said = "Only 3 rows were looked through" in answer.text
        assert said is (looked_through is not None), parameters
        if looked_through is not None:  # one more, or more, if equal
            assert len(answer.context["cl"].result_list) == looked_through + 1, parameters
            assert len(ran) <= 9, parameters


def test_an_address_is_looked_for_in_the_newest_sessions_and_the_list_says_so(
    viewer: Client, user: AbstractUser, monkeypatch: pytest.MonkeyPatch, found: Any
) -> None:
    monkeypatch.setattr(SessionList, "LOOKED_THROUGH", 3)
    address, sids = "203.0.113.7", sorted(uuid.UUID(new_sid()) for _ in range(5))
    first, *others = (make_session(user, sid=sid, ip_address=address) for sid in sids[:3])
    assert found("tokensession", q=address) == [*reversed(others), first]
    assert "rows were looked through" not in viewer.get(page("tokensession"), {"q": address}).text
    others.append(make_session(user, sid=sids[3]))
    others.append(make_session(user, sid=sids[4], ip_address=address))
    seen = [others[3], others[1], others[0]]  # one more than looked through, because of equal ones
    assert found("tokensession", q=address) == seen
    assert "Only 3 rows were looked" in viewer.get(page("tokensession"), {"q": address}).text
    assert found("tokensession", q="ada") == [*reversed(others), first]


@pytest.mark.parametrize("reason", BlacklistEntry.Reason.values)
def test_a_rare_reason_is_looked_for_in_all_rows_where_an_index_finds_it(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(EntryList, "LOOKED_THROUGH", 3)
    now = clock.now()
    wanted = make_entry(created_at=now - timedelta(hours=2), reason=reason)
    other = next(one for one in BlacklistEntry.Reason.values if one != reason)
    for number in range(6):
        make_entry(created_at=now - timedelta(minutes=number), reason=other)
    complete = reason in RARE_REASONS and connection.vendor != "mysql"
    for more in ("", "&revoked=day", "&status=in_force"):
        answer = viewer.get(f"{page('blacklistentry')}?reason__exact={reason}{more}")
        found = list(answer.context["cl"].result_list)
        assert found == ([wanted] if complete else []), more
        assert ("rows were looked through" in answer.text) is not complete, more


def test_the_index_on_rare_reasons_is_one_of_these_only() -> None:
    with connection.cursor() as cursor:
        table = BlacklistEntry._meta.db_table
        found = connection.introspection.get_constraints(cursor, table)
    assert ("tokens_entry_rare" in found) is (connection.vendor != "mysql")
    if connection.vendor != "mysql":
        assert found["tokens_entry_rare"]["columns"] == ["reason", "created_at"]
    # Django would warn of an index that has no condition there (models.W037).
    warnings = checks.run_checks(
        app_configs=[BlacklistEntry._meta.app_config], databases=["default"]
    )
    assert not [one for one in warnings if one.id == "models.W037"]


@pytest.mark.django_db(transaction=True)
def test_the_index_on_rare_reasons_comes_and_goes_with_a_migration() -> None:
    index = next(one for one in BlacklistEntry._meta.indexes if one.name == "tokens_entry_rare")
    assert index == index.clone()
    for operation in ("remove_index", "add_index"):
        with connection.schema_editor() as editor:
            getattr(editor, operation)(BlacklistEntry, index)
    test_the_index_on_rare_reasons_is_one_of_these_only()


@pytest.mark.any_database
def test_the_script_of_the_list_finds_its_counter(unrevoker: Any, rows: Any) -> None:
    """Django's actions.js reads it; without it each click is an error in the console."""
    text = unrevoker.get(page("blacklistentry")).text
    assert 'class="action-counter"' in text
    assert "across all pages" not in text


# Themes replace Django's templates, but for this block.
THEMES = {
    "delete_confirmation.html": "{% block content %}theirs{% endblock %}",
    "delete_selected_confirmation.html": "{% block content %}theirs{% endblock %}",
    "actions.html": "{% block content %}{% endblock %}",
}


@pytest.mark.any_database
@pytest.mark.parametrize("bulk", [False, True], ids=["one", "selected"])
def test_the_question_keeps_its_warning_under_a_theme(
    unrevoker: Any, settings: Any, tmp_path: Any, bulk: bool
) -> None:
    (tmp_path / "admin").mkdir()
    for name, text in THEMES.items():
        (tmp_path / "admin" / name).write_text('{% extends "admin/base_site.html" %}' + text)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    entry = make_entry()
    if bulk:
        data = {"action": "delete_selected", "_selected_action": [str(entry.pk)]}
        text = unrevoker.post(page("blacklistentry"), data).text
    else:
        text = unrevoker.get(page("blacklistentry", "delete", entry.pk)).text
    assert "will be accepted again" in text
    assert "Yes, un-revoke" in text
    assert "theirs" not in text


@pytest.mark.any_database
def test_the_filters_list_no_users(viewer: Any, rows: Any) -> None:
    text = viewer.get(page("blacklistentry")).text
    # Django 5.2 puts the filters behind the results, later versions before them.
    filters = re.search(r'<(\w+) id="changelist-filter".*?</\1>', text, re.DOTALL)
    assert filters is not None
    assert "By why" in filters[0]
    assert "ada" not in filters[0]


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("tokensession", "auth_hash__startswith=h"),
        ("tokensession", "refresh_jti=newest-id"),
        ("tokensession", "user__password__startswith=a"),
        ("blacklistentry", "subject__regex=(a%2B)%2B$"),
        ("blacklistentry", "user__password__startswith=a"),
        ("blacklistentry", "reason__exact=a%00b"),
    ],
)
def test_no_parameter_lets_one_guess_what_is_not_shown(
    viewer: Any, rows: Any, model: str, query: str
) -> None:
    assert viewer.get(f"{page(model)}?{query}").status_code == 400


@pytest.mark.parametrize("query", ["user=x", "p=99999999999999999999", "p=x"])
def test_odd_parameters_are_no_error(viewer: Any, rows: Any, query: str) -> None:
    assert viewer.get(f"{page('blacklistentry')}?{query}", follow=True).status_code == 200


@pytest.mark.any_database
def test_rows_of_one_user_can_be_linked_to(
    found: Any, user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    entry = make_entry(user=user)
    make_entry(user=make_user("bob"))
    assert found("blacklistentry", user=str(user.pk)) == [entry]


# Writing


@pytest.mark.any_database
@pytest.mark.parametrize("model", LISTS)
def test_nothing_can_be_added_or_changed(root: Any, rows: Any, model: Any) -> None:
    row = rows[model]
    before = type(row).objects.values().get()
    assert root.get(page(model, "add")).status_code == 403
    assert root.post(page(model, "add"), {"subject": "x"}).status_code == 403
    changes = {"subject": "x", "expires_at_0": "2000-01-01", "error": "y", "_save": "Save"}
    assert root.post(page(model, "change", row.pk), changes).status_code == 403
    assert type(row).objects.values().get() == before


@pytest.mark.any_database
def test_the_list_of_runs_warns_when_the_cleanup_does_not_do_its_work(viewer: Any) -> None:
    overdue = "The cleanup is overdue."
    assert overdue not in viewer.get(page("cleanuprun")).text
    make_entry(expires_at=clock.now() - timedelta(days=3))
    for _ in range(2):  # what was shown does not pile up
        assert viewer.get(page("cleanuprun")).text.count(overdue) == 1


@pytest.mark.any_database
@pytest.mark.parametrize("model", ["tokensession", "cleanuprun"])
def test_nobody_deletes_sessions_or_runs_here(root: Any, rows: Any, model: str) -> None:
    row = rows[model]
    assert root.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes"}
    root.post(page(model), action)
    assert type(row).objects.get() == row
    assert "deletelink" not in root.get(page(model, "change", row.pk)).text


@pytest.mark.any_database
def test_there_are_only_rights_that_allow_something() -> None:
    rights = Permission.objects.filter(content_type__app_label="tokens")
    assert set(rights.values_list("codename", flat=True)) == {
        "view_blacklistentry",
        "introspect_token",
        "view_tokensession",
        "view_cleanuprun",
        "run_cleanup",
        "unrevoke_blacklistentry",
        "end_tokensession",
    }


@pytest.mark.any_database
@pytest.mark.parametrize("hours", [1, -1], ids=["in force", "expired"])
def test_other_rights_do_not_unrevoke(staff: Callable[..., Client], hours: Any) -> None:
    entry = make_entry(expires_at=clock.now() + timedelta(hours=hours))
    client = staff("view_blacklistentry", "delete_user", "end_tokensession")
    url = page("blacklistentry", "delete", entry.pk)
    assert client.get(url).status_code == 403
    assert client.post(url, {"post": "yes"}).status_code == 403
    assert "Un-revoke" not in client.get(page("blacklistentry", "change", entry.pk)).text
    action = {"action": "delete_selected", "_selected_action": str(entry.pk), "post": "yes"}
    client.post(page("blacklistentry"), action)
    assert BlacklistEntry.objects.get() == entry


def test_unrevoking_asks_then_makes_the_token_valid_again_and_is_logged_twice(
    unrevoker: Any, user: AbstractUser, log_in: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    login = log_in(user)
    login.logout()
    assert login.me().status_code == 401
    entry = BlacklistEntry.objects.get()
    url = page("blacklistentry", "delete", entry.pk)
    question = unrevoker.get(url).text
    assert "will be accepted again" in question
    assert "Delete" not in question
    assert entry.subject in question
    assert f"<strong>{user.username}</strong>" in question
    assert login.me().status_code == 401
    with caplog.at_level(logging.WARNING, "tokens"):
        refused = unrevoker.post(url, {"post": "yes", "why": " \n"}, follow=True)
        assert "Nothing was un-revoked: say why." in refused.text
        assert login.me().status_code == 401
        done = unrevoker.post(url, {"post": "yes", "why": "the  wrong\nperson"}, follow=True)
    assert "Un-revoked a session" in done.text
    assert done.redirect_chain == [(page("blacklistentry"), 302)]
    assert login.me().status_code == 200
    assert login.refresh().status_code == 401  # the session itself does not come back
    (record,) = [record for record in caplog.records if record.name == "tokens"]
    assert record.levelno == logging.WARNING
    for part in ("staff", str(entry.key), entry.subject, "'the wrong person'"):
        assert part in record.getMessage()
    assert login.access not in caplog.text
    logged = LogEntry.objects.get()
    assert logged.user.username.startswith("staff")
    assert (logged.object_id, logged.object_repr) == (str(user.pk), "ada")
    assert logged.content_type.model_class() is User
    for part in (entry.subject, "logged out", "UTC", ": the wrong person"):
        assert part in logged.change_message


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("scope", "hours", "text"),
    [
        ("token", 1, "The token will be accepted again until"),
        ("session", 1, "its refresh token stays refused"),
        ("user", 1, "that belong to no session"),
        ("token", -1, "the tokens it refused have expired too"),
    ],
)
def test_the_question_says_what_unrevoking_does(
    unrevoker: Any, scope: str, hours: Any, text: str
) -> None:
    subject = new_sid() if scope == "session" else "7"
    entry = make_entry(subject, scope=scope, expires_at=clock.now() + timedelta(hours=hours))
    assert text in unrevoker.get(page("blacklistentry", "delete", entry.pk)).text


def test_several_entries_are_unrevoked_after_a_question(
    unrevoker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [make_entry(), make_entry(), make_entry()]
    chosen = [str(entry.pk) for entry in entries[:2]]
    data: dict[str, Any] = {"action": "delete_selected", "_selected_action": chosen}
    question = unrevoker.post(page("blacklistentry"), data).text
    assert "2 entries" in question
    assert question.count("will be accepted again") == 2
    assert BlacklistEntry.objects.count() == 3
    answer = unrevoker.post(page("blacklistentry"), {**data, "post": "yes"}, follow=True)
    assert "Nothing was un-revoked: say why." in answer.text
    assert BlacklistEntry.objects.count() == 3
    unrevoker.post(page("blacklistentry"), {**data, "post": "yes", "why": "tried out"})
    assert BlacklistEntry.objects.get() == entries[2]
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == set(chosen)
    assert all("tried out" in logged.change_message for logged in LogEntry.objects.all())
    assert len([record for record in caplog.records if record.name == "tokens"]) == 2


@pytest.mark.any_database
def test_a_whole_table_is_not_unrevoked_at_once(unrevoker: Any, user: AbstractUser) -> None:
    fill(user, 201)
    data = {
        "action": "delete_selected",
        "_selected_action": str(BlacklistEntry.objects.first().pk),
        "select_across": "1",
        "post": "yes",
        "why": "all of them",
    }
    answer = unrevoker.post(page("blacklistentry"), data, follow=True)
    assert "At most 200 entries" in answer.text
    assert BlacklistEntry.objects.count() == 201


@pytest.mark.any_database
def test_log_lines_can_not_be_forged_by_a_subject(
    unrevoker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    entry = make_entry()
    BlacklistEntry.objects.update(subject="a\nWARNING forged")
    why = "because\nWARNING forged"
    unrevoker.post(page("blacklistentry", "delete", entry.pk), {"post": "yes", "why": why})
    assert "un-revokes" in caplog.text
    assert "\nWARNING forged" not in caplog.text


@pytest.mark.parametrize("rights", [{"is_superuser": True}, {}], ids=["superuser", "staff"])
@pytest.mark.parametrize("bulk", [False, True], ids=["one", "selected"])
def test_a_user_with_entries_and_sessions_can_be_deleted_and_the_entries_stay(
    staff: Callable[..., Client], user: AbstractUser, rights: Any, bulk: bool
) -> None:
    entry = make_entry(user=user)
    make_session(user)
    client = staff("delete_user", "view_user", **rights)
    if bulk:
        url = reverse("admin:auth_user_changelist")
        data = {"action": "delete_selected", "_selected_action": str(user.pk)}
    else:
        url, data = reverse("admin:auth_user_delete", args=[user.pk]), {}
    assert "have permission to delete" not in client.get(url).text
    assert client.post(url, {**data, "post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()
    assert not TokenSession.objects.exists()
    entry.refresh_from_db()
    assert entry.user_id is None
    assert entry.in_force


@pytest.mark.any_database
@pytest.mark.slow
def test_users_may_have_a_uuid_for_a_key_and_an_address_for_a_name() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.custom_user.settings"}
    command = [sys.executable, "-W", "error", "-m", "tests.custom_user"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_entries_in_force_for_good_are_listed_and_can_be_filtered(
    admin_client: Any, user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_LONGEST_LIFETIME = None
    sessions.end_all(user)
    blacklist.revoke_session(new_sid(), expires_at=clock.now() + timedelta(days=1))
    url = "/admin/tokens/blacklistentry/"
    usual, for_good = admin_client.get(url).text, admin_client.get(url + "?status=for_good").text
    assert "2 blacklist entries" in usual
    assert "1 blacklist entry" in for_good
    for text in (usual, for_good, admin_client.get(f"{url}?q={user.username}").text):
        assert "forever</td>" in text
    entry = BlacklistEntry.objects.get(scope="user")
    assert "9999" not in admin_client.get(f"{url}{entry.pk}/change/").text


# Runs


def test_runs_are_filtered_by_when_outcome_trigger_and_host(found: Any) -> None:
    now = clock.now()
    old = make_run(started_at=now - timedelta(days=8), outcome="succeeded")
    failed = make_run(started_at=now - timedelta(days=2), outcome="failed")
    killed = make_run(started_at=now - timedelta(days=1), heartbeat_at=now - timedelta(days=1))
    running = CleanupRun.objects.create(trigger="every", host="web-2")
    assert found("cleanuprun") == [running, killed, failed, old]
    assert found("cleanuprun", started="week") == [running, killed, failed]
    assert found("cleanuprun", started="month") == [running, killed, failed, old]
    assert found("cleanuprun", outcome="failed") == [failed]
    assert found("cleanuprun", outcome="abandoned") == [killed]
    assert found("cleanuprun", outcome="running") == [running]
    assert found("cleanuprun", trigger="every") == [running]
    assert found("cleanuprun", host="web-1") == [killed, failed, old]
    assert found("cleanuprun", host="web-2", outcome="failed") == []
    assert len(found("cleanuprun", outcome="nonsense", started="x")) == 4


@pytest.mark.any_database
def test_the_list_of_runs_says_how_the_cleanup_is(viewer: Any) -> None:
    now = clock.now()
    text = viewer.get(page("cleanuprun")).text
    assert "Last success" in text
    assert "<dd>never</dd>" in text
    hours = now - timedelta(hours=4)
    make_run(started_at=hours, finished_at=hours, outcome="succeeded")
    make_run(started_at=now, finished_at=now, outcome="failed", error="DatabaseError: disk full")
    make_entry(expires_at=now - timedelta(days=3))
    facts = viewer.get(page("cleanuprun")).text.split("<dl")[1].split("</dl>")[0]
    assert ">4\xa0hours ago</time>" in facts
    assert ">in 19\xa0hours</time>" in facts
    assert ">3\xa0days ago</time>" in facts
    assert "failed, began" in facts
    assert "on web-1, DatabaseError: disk full" in facts


def test_the_list_of_runs_takes_few_statements(root: Any, statements: Callable[[], Any]) -> None:
    make_entry(expires_at=clock.now() - timedelta(days=3))
    make_run(outcome="succeeded", finished_at=clock.now())
    assert count_statements(root, page("cleanuprun"), statements) <= 12


# Moments


@pytest.mark.any_database
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_moment_is_shown_by_the_readers_clock_and_names_the_zone(
    viewer: Any, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Asia/Tokyo"
    moment = datetime(2026, 1, 15, 18, 30, tzinfo=UTC)
    assert moments.shown(clock.stored(moment)) == "2026-01-16 03:30 JST"
    ago = clock.stored(datetime.now(UTC) - timedelta(hours=3, minutes=1))
    assert ">3\xa0hours ago</time>" in moments.relative(ago)
    assert 'JST"' in moments.relative(ago)
    assert ">just now</time>" in moments.relative(clock.now())
