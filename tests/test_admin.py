import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import AbstractUser, Permission, User
from django.db.models import Model
from django.test import Client, override_settings
from django.urls import path, reverse

from tokens import blacklist, clock, sessions
from tokens.admin import BlacklistEntryAdmin, CleanupRunAdmin, TokenSessionAdmin
from tokens.admin.base import CappedPaginator
from tokens.admin.search import MAX_USERS, user_keys, users_named
from tokens.entries import readable, subject_shown_as
from tokens.keys import key_for, new_sid
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

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


@pytest.mark.parametrize("model", LISTS)
def test_nothing_is_shown_without_the_right_to_view(
    staff: Callable[..., Client], rows: Any, model: Any
) -> None:
    client = staff("delete_user")
    assert client.get(page(model)).status_code == 403
    assert client.get(page(model, "change", rows[model].pk)).status_code == 403


@pytest.mark.parametrize("model", LISTS)
def test_an_empty_list_is_shown(viewer: Any, model: Any) -> None:
    assert viewer.get(page(model)).status_code == 200


@pytest.mark.parametrize(
    ("hours", "text"), [(1, "in force"), (-1, "expired")], ids=["in force", "expired"]
)
def test_the_status_reads_without_its_colour(viewer: Any, hours: Any, text: str) -> None:
    entry = make_entry(expires_at=clock.now() + timedelta(hours=hours))
    label = f">{text}</span>"
    assert label in viewer.get(page("blacklistentry")).text
    assert label in viewer.get(page("blacklistentry", "change", entry.pk)).text


@override_settings(SIMPLE_JWT={"LEEWAY": 60})
def test_an_entry_is_in_force_while_simplejwts_leeway_lasts() -> None:
    entry = make_entry(expires_at=clock.now() - timedelta(seconds=30))
    assert entry.in_force
    assert BlacklistEntry.objects.in_force().get() == entry


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
        assert evil not in answer.text
        assert "&lt;script&gt;" in answer.text


def test_long_subjects_are_cut_in_the_list_and_whole_in_the_detail(viewer: Any) -> None:
    entry = make_entry("x" * 250)
    assert f">{'x' * 16}…<" in viewer.get(page("blacklistentry")).text
    assert f">{'x' * 250}<" in viewer.get(page("blacklistentry", "change", entry.pk)).text


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


def test_a_user_is_a_link_and_one_who_is_gone_an_id(viewer: Any, user: AbstractUser) -> None:
    make_entry(user=user)
    gone = make_entry(user_id=987654)
    text = viewer.get(page("blacklistentry")).text
    assert f'<a href="/admin/auth/user/{user.pk}/change/">ada</a>' in text
    assert "987654 (deleted)" in text
    assert "987654 (deleted)" in viewer.get(page("blacklistentry", "change", gone.pk)).text


def test_a_session_whose_user_is_gone_is_shown(viewer: Any) -> None:
    session = make_session(None, user_id=987654)
    assert "987654 (deleted)" in viewer.get(page("tokensession")).text
    assert "987654 (deleted)" in viewer.get(page("tokensession", "change", session.pk)).text


@pytest.mark.urls(__name__)
def test_an_admin_site_of_ones_own_works_without_user_pages(root: Any, rows: Any) -> None:
    for model, row in rows.items():
        url = reverse(f"support:tokens_{model}_changelist")
        assert root.get(url).status_code == 200
        assert root.get(f"{url}{row.pk}/change/").status_code == 200
    text = root.get(reverse("support:tokens_blacklistentry_changelist")).text
    assert ">ada<" in text
    assert "/auth/user/" not in text


def test_runs_are_listed_newest_first_with_numbers_one_can_read(viewer: Any) -> None:
    start = clock.now() - timedelta(hours=3)
    make_run(started_at=start, finished_at=start + timedelta(seconds=4021), outcome="succeeded")
    make_run(started_at=start, outcome="running", entries_removed=1234567)
    killed = make_run(started_at=start, heartbeat_at=start, outcome="running")
    text = viewer.get(page("cleanuprun")).text
    assert text.index(">abandoned<") < text.index(">running<")
    assert ">abandoned<" in viewer.get(page("cleanuprun", "change", killed.pk)).text
    assert text.index(">running<") < text.index(">succeeded<")
    assert "1:07:01" in text
    assert "1,234,567" in text


# Cost


def count_statements(client: Client, url: str, statements: Any) -> int:
    client.get(url)
    with statements() as ran:
        assert client.get(url).status_code == 200
    return len(ran)


@pytest.mark.parametrize("query", ["?q=ad", "?p=2", "?status=expired", "?needed=day"])
def test_searches_filters_and_pages_cost_no_more_for_1000_rows_than_for_60(
    viewer: Any, user: AbstractUser, statements: Callable[[], Any], query: str
) -> None:
    fill(user, 60)
    few = count_statements(viewer, page("blacklistentry") + query, statements)
    fill(user, 940)
    assert count_statements(viewer, page("blacklistentry") + query, statements) == few <= 10


@pytest.mark.parametrize("model", LISTS)
def test_a_list_costs_no_more_for_1000_rows_than_for_10(
    viewer: Any, user: AbstractUser, statements: Callable[[], Any], model: Any
) -> None:
    fill(user, 10)
    few = count_statements(viewer, page(model), statements)
    fill(user, 990)
    assert count_statements(viewer, page(model), statements) == few


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


def test_users_who_are_gone_cost_no_statement_each(
    viewer: Any, statements: Callable[[], Any]
) -> None:
    make_session(None, user_id=1000)
    few = count_statements(viewer, page("tokensession"), statements)
    for number in range(20):
        make_session(None, user_id=1001 + number)
    assert count_statements(viewer, page("tokensession"), statements) == few


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


@pytest.mark.parametrize("column", range(8))
def test_a_list_sorts_by_no_column_without_an_index(
    viewer: Any, user: AbstractUser, statements: Callable[[], Any], column: Any
) -> None:
    make_entry(user=user)
    with statements() as ran:
        assert viewer.get(page("blacklistentry") + f"?o={column}").status_code == 200
    (listing,) = [sql for sql in ran if "ORDER BY" in sql and "expires_at" in sql]
    order = listing.split("ORDER BY")[1]
    assert "expires_at" in order or "key" in order.split(",")[0]
    assert "subject" not in order
    assert "created_at" not in order


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


def test_sessions_are_found_by_sid_and_ip_address(found: Any, user: AbstractUser) -> None:
    four = make_session(user, ip_address="203.0.113.7")
    six = make_session(user, ip_address="2001:db8::1")
    assert found("tokensession", q=str(four.sid).upper()) == [four]
    assert found("tokensession", q="203.0.113.7") == [four]
    assert found("tokensession", q="2001:DB8:0::1") == [six]
    assert found("tokensession", q="203.0.113") == []


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


@pytest.mark.parametrize("term", HOSTILE, ids=ascii)
@pytest.mark.parametrize("model", ["blacklistentry", "tokensession"])
def test_an_odd_search_term_is_a_search_without_result(
    viewer: Any, rows: Any, model: str, term: Any
) -> None:
    answer = viewer.get(page(model), {"q": term})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text


def test_user_names_that_are_not_text_are_no_trouble(
    user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User, "USERNAME_FIELD", "id")
    assert users_named("abc") == ([], True)
    assert users_named(str(user.pk))[0][0] == user.pk


def test_entries_are_filtered_by_status_scope_reason_and_need(found: Any) -> None:
    soon = make_entry(expires_at=clock.now() + timedelta(minutes=5), reason="reuse")
    week = make_entry(expires_at=clock.now() + timedelta(days=3), scope="session")
    late = make_entry(expires_at=clock.now() + timedelta(days=30))
    old = make_entry(expires_at=clock.now() - timedelta(days=1))
    assert found("blacklistentry") == [late, week, soon, old]
    assert found("blacklistentry", status="in_force") == [late, week, soon]
    assert found("blacklistentry", status="expired") == [old]
    assert found("blacklistentry", needed="hour") == [soon]
    assert found("blacklistentry", needed="day") == [soon]
    assert found("blacklistentry", needed="week") == [week, soon]
    assert found("blacklistentry", needed="longer") == [late]
    assert found("blacklistentry", scope__exact="session") == [week]
    assert found("blacklistentry", reason__exact="reuse") == [soon]
    assert found("blacklistentry", status="nonsense", needed="x") == [late, week, soon, old]


def test_the_filters_list_no_users(viewer: Any, rows: Any) -> None:
    assert "ada" not in viewer.get(page("blacklistentry")).text.split('id="changelist-filter"')[1]


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


def test_rows_of_one_user_can_be_linked_to(
    found: Any, user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    entry = make_entry(user=user)
    make_entry(user=make_user("bob"))
    assert found("blacklistentry", user=str(user.pk)) == [entry]


# Writing


@pytest.mark.parametrize("model", LISTS)
def test_nothing_can_be_added_or_changed(root: Any, rows: Any, model: Any) -> None:
    row = rows[model]
    before = type(row).objects.values().get()
    assert root.get(page(model, "add")).status_code == 403
    assert root.post(page(model, "add"), {"subject": "x"}).status_code == 403
    changes = {"subject": "x", "expires_at_0": "2000-01-01", "error": "y", "_save": "Save"}
    assert root.post(page(model, "change", row.pk), changes).status_code == 403
    assert type(row).objects.values().get() == before


def test_the_list_of_runs_warns_when_the_cleanup_does_not_do_its_work(viewer: Any) -> None:
    overdue = "The cleanup is overdue."
    assert overdue not in viewer.get(page("cleanuprun")).text
    make_entry(expires_at=clock.now() - timedelta(days=3))
    for _ in range(2):  # what was shown does not pile up
        assert viewer.get(page("cleanuprun")).text.count(overdue) == 1


@pytest.mark.parametrize("model", ["tokensession", "cleanuprun"])
def test_nobody_deletes_sessions_or_runs_here(root: Any, rows: Any, model: str) -> None:
    row = rows[model]
    assert root.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes"}
    root.post(page(model), action)
    assert type(row).objects.get() == row
    assert "deletelink" not in root.get(page(model, "change", row.pk)).text


def test_there_are_only_rights_that_allow_something() -> None:
    rights = Permission.objects.filter(content_type__app_label="tokens")
    assert set(rights.values_list("codename", flat=True)) == {
        "view_blacklistentry",
        "view_tokensession",
        "view_cleanuprun",
        "unrevoke_blacklistentry",
        "end_tokensession",
    }


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
    assert entry.subject in question
    assert login.me().status_code == 401
    with caplog.at_level(logging.WARNING, "tokens"):
        assert unrevoker.post(url, {"post": "yes"}).status_code == 302
    assert login.me().status_code == 200
    assert login.refresh().status_code == 401  # the session itself does not come back
    (record,) = [record for record in caplog.records if record.name == "tokens"]
    assert record.levelno == logging.WARNING
    for part in ("staff", str(entry.key), entry.subject):
        assert part in record.getMessage()
    assert login.access not in caplog.text
    logged = LogEntry.objects.get(action_flag=DELETION)
    assert logged.object_id == str(entry.key)
    assert logged.user.username.startswith("staff")


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
    unrevoker.post(page("blacklistentry"), {**data, "post": "yes"})
    assert BlacklistEntry.objects.get() == entries[2]
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 2
    assert len([record for record in caplog.records if record.name == "tokens"]) == 2


def test_a_whole_table_is_not_unrevoked_at_once(unrevoker: Any, user: AbstractUser) -> None:
    fill(user, 201)
    data = {
        "action": "delete_selected",
        "_selected_action": str(BlacklistEntry.objects.first().pk),
        "select_across": "1",
        "post": "yes",
    }
    answer = unrevoker.post(page("blacklistentry"), data, follow=True)
    assert "At most 200 entries" in answer.text
    assert BlacklistEntry.objects.count() == 201


def test_log_lines_can_not_be_forged_by_a_subject(
    unrevoker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    entry = make_entry()
    BlacklistEntry.objects.update(subject="a\nWARNING forged")
    unrevoker.post(page("blacklistentry", "delete", entry.pk), {"post": "yes"})
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


@pytest.mark.slow
def test_users_may_have_a_uuid_for_a_key_and_an_address_for_a_name() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.custom_user.settings"}
    command = [sys.executable, "-W", "error", "-m", "tests.custom_user"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_entries_in_force_for_good_are_a_choice_of_their_own(
    admin_client: Any, user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_LONGEST_LIFETIME = None
    sessions.end_all(user)
    blacklist.revoke_session(new_sid(), expires_at=clock.now() + timedelta(days=1))
    url = "/admin/tokens/blacklistentry/"
    usual, for_good = admin_client.get(url).text, admin_client.get(url + "?status=for_good").text
    assert "1 blacklist entry" in usual
    assert "forever</td>" not in usual
    assert "1 blacklist entry" in for_good
    assert "forever</td>" in for_good
    assert "forever</td>" in admin_client.get(f"{url}?q={user.username}").text
    entry = BlacklistEntry.objects.get(scope="user")
    assert "9999" not in admin_client.get(f"{url}{entry.pk}/change/").text
