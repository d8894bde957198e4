"""Ending sessions in the admin: the question, the act, its record, and its bounds."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AbstractUser, User
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken

from tokens import sessions
from tokens.admin import ending
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, TokenSession

from .conftest import Login
from .test_admin import make_session, page

pytestmark = pytest.mark.django_db

SESSIONS = "/admin/tokens/tokensession/"
USERS = "/admin/auth/user/"
ACTIONS = [(SESSIONS, "end_selected"), (SESSIONS, "end_everywhere"), (USERS, "end_all_sessions")]


@pytest.fixture
def support(staff: Callable[..., Client]) -> Client:
    return staff("view_tokensession", "end_tokensession", "view_user")


@pytest.fixture
def many(make_user: Callable[..., User]) -> Callable[..., list[Any]]:
    def make(user: Any, count: int) -> list[Any]:
        end = make_session(user).expires_at
        TokenSession.objects.bulk_create(
            TokenSession(sid=new_sid(), user=user, refresh_jti=str(number), expires_at=end)
            for number in range(count - 1)
        )
        return list(TokenSession.objects.filter(user=user))

    return make


def ask(client: Client, url: str, action: str, rows: Any, **data: Any) -> Any:
    chosen = [str(row.pk) for row in rows]
    return client.post(url, {"action": action, "_selected_action": chosen, "index": 0, **data})


def say_yes(client: Client, url: str, question: Any) -> Any:
    """Send the form of the confirmation page as a browser would."""
    from html.parser import HTMLParser

    fields: dict[str, list[str]] = {}

    class Fields(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found = dict(attrs)
            if tag == "input" and found.get("type") == "hidden" and found.get("name"):
                fields.setdefault(found["name"] or "", []).append(found.get("value") or "")

    Fields().feed(question.text.split('id="content"')[1])
    return client.post(url, fields, follow=True)


def messages(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


# The question and the act


def test_selected_sessions_end_after_a_question(
    support: Any,
    user: AbstractUser,
    make_user: Callable[..., AbstractUser],
    caplog: pytest.LogCaptureFixture,
) -> None:
    laptop, phone, grace = Login(user), Login(user), Login(make_user("grace"))
    chosen = list(TokenSession.objects.order_by("sid")[:1])
    question = ask(support, SESSIONS, "end_selected", chosen)
    assert "<strong>1 session of 1 user</strong>" in question.text
    assert "<li>ada: 1 session</li>" in question.text
    assert laptop.me().status_code == 200
    with caplog.at_level(logging.INFO, "tokens"):
        answer = say_yes(support, SESSIONS, question)
    assert messages(answer) == ["Ended 1 session of 1 user."]
    assert laptop.me().status_code == laptop.refresh().status_code == 401
    assert phone.me().status_code == phone.refresh().status_code == 200
    assert grace.me().status_code == 200
    assert BlacklistEntry.objects.get().reason == "admin"
    (record,) = [record for record in caplog.records if record.name == "tokens"]
    assert record.levelno == logging.INFO
    for part in ("staff", "1 session of 1 user", str(chosen[0].sid), str(user.pk)):
        assert part in record.getMessage()


@pytest.mark.parametrize(("url", "action"), ACTIONS[1:], ids=["sessions", "users"])
def test_users_are_logged_out_everywhere_after_a_question(
    support: Any, user: AbstractUser, make_user: Callable[..., AbstractUser], url: Any, action: Any
) -> None:
    laptop, phone, grace = Login(user), Login(user), Login(make_user("grace"))
    plain = str(PlainAccessToken.for_user(user))
    chosen = [user] if url == USERS else list(TokenSession.objects.order_by("sid")[:1])
    question = ask(support, url, action, chosen)
    assert "all <strong>2 sessions of 1 user</strong>" in question.text
    assert phone.me().status_code == phone.me(plain).status_code == 200
    assert messages(say_yes(support, url, question)) == ["Ended 2 sessions of 1 user."]
    assert {login.me().status_code for login in (laptop, phone)} == {401}
    assert {login.refresh().status_code for login in (laptop, phone)} == {401}
    assert phone.me(plain).status_code == 401
    assert grace.me().status_code == 200
    reasons = BlacklistEntry.objects.values_list("reason", flat=True)
    assert set(reasons) == {"admin"}
    assert len(reasons) == 3


def test_a_user_without_sessions_can_be_logged_out_everywhere(
    support: Any, user: AbstractUser
) -> None:
    plain = str(PlainAccessToken.for_user(user))
    question = ask(support, USERS, "end_all_sessions", [user])
    assert "<li>ada: 0 sessions</li>" in question.text
    assert messages(say_yes(support, USERS, question)) == ["Ended 0 sessions of 1 user."]
    api = Client()
    assert api.get("/api/me/", HTTP_AUTHORIZATION=f"Bearer {plain}").status_code == 401


@pytest.mark.parametrize(("url", "action"), ACTIONS)
def test_the_right_to_view_is_not_the_right_to_end(
    staff: Callable[..., Client], user: AbstractUser, url: Any, action: Any
) -> None:
    make_session(user)
    client = staff("view_tokensession", "view_user", "change_user", "delete_user")
    assert action not in client.get(url).text
    rows = [user] if url == USERS else TokenSession.objects.all()
    ask(client, url, action, rows, post="yes")
    assert TokenSession.objects.exists()
    assert not BlacklistEntry.objects.exists()
    assert not LogEntry.objects.exists()


def test_a_sessions_page_has_a_button_for_those_who_may(
    support: Any, staff: Callable[..., Client], user: AbstractUser
) -> None:
    login = Login(user)
    session = TokenSession.objects.get()
    url = page("tokensession", "change", session.pk)
    assert "End this session" not in staff("view_tokensession").get(url).text
    text = support.get(url).text
    assert "End this session" in text
    assert f'formaction="{SESSIONS}"' in text
    # What a browser sends for this button:
    data = {"action": "end_selected", "_selected_action": str(session.pk)}
    question = support.post(SESSIONS, data)
    assert "<li>ada: 1 session</li>" in question.text
    say_yes(support, SESSIONS, question)
    assert login.me().status_code == 401


def test_sessions_that_ended_meanwhile_are_no_error(support: Any, user: AbstractUser) -> None:
    session = make_session(user)
    question = ask(support, SESSIONS, "end_selected", [session])
    sessions.end_all(user)
    answer = say_yes(support, SESSIONS, question)
    assert messages(answer) == ["These sessions had already ended."]
    answer = ask(support, SESSIONS, "end_everywhere", [session], post="yes")
    assert answer.status_code == 302


def test_sessions_of_users_who_are_gone_can_be_ended(support: Any) -> None:
    session = make_session(None, user_id=987654)
    question = ask(support, SESSIONS, "end_everywhere", [session])
    assert "987654 (deleted)" in question.text
    assert messages(say_yes(support, SESSIONS, question)) == ["Ended 1 session of 1 user."]
    assert BlacklistEntry.objects.get().user_id == 987654
    assert LogEntry.objects.get().object_repr == "987654 (deleted)"


def test_names_are_escaped(support: Any, make_user: Callable[..., AbstractUser]) -> None:
    evil = "<script>alert(1)</script>"
    session = make_session(make_user(evil))
    assert evil not in ask(support, SESSIONS, "end_selected", [session]).text


@pytest.mark.parametrize(
    "until", ["", "x", "\0", "9" * 400, "019AA5C1-7B2E-7C4D-8F10-2233445566FF"]
)
def test_odd_parameters_end_no_more_than_selected(
    support: Any, user: AbstractUser, until: Any
) -> None:
    chosen, other = make_session(user), make_session(user)
    ask(support, SESSIONS, "end_selected", [chosen], post="yes", until=until)
    assert TokenSession.objects.get() == other


# Its record


def test_each_users_history_tells_who_ended_how_many(
    support: Any,
    root_client: Any,
    many: Any,
    user: AbstractUser,
    make_user: Callable[..., AbstractUser],
) -> None:
    many(user, 3)
    many(make_user("grace"), 2)
    question = ask(support, SESSIONS, "end_selected", TokenSession.objects.all())
    say_yes(support, SESSIONS, question)
    logged = LogEntry.objects.order_by("object_repr")
    assert [(entry.object_repr, str(entry)) for entry in logged] == [
        ("ada", "Changed “ada” — Ended 3 sessions."),
        ("grace", "Changed “grace” — Ended 2 sessions."),
    ]
    history = root_client.get(reverse("admin:auth_user_history", args=[user.pk])).text
    assert "Ended 3 sessions." in history
    assert "staff" in history


@pytest.fixture
def root_client(staff: Callable[..., Client]) -> Client:
    return staff(is_superuser=True)


def test_the_record_of_many_users_is_one_line(
    support: Any, monkeypatch: pytest.MonkeyPatch, make_user: Callable[..., AbstractUser]
) -> None:
    monkeypatch.setattr(ending, "MAX_USERS", 2)
    for name in ("a", "b", "c"):
        make_session(make_user(name))
    question = ask(support, SESSIONS, "end_selected", TokenSession.objects.all())
    say_yes(support, SESSIONS, question)
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.change_message) == (
        "3 sessions of 3 users",
        "Ended 3 sessions of 3 users.",
    )
    assert support.get("/admin/").status_code == 200


def test_what_is_logged_is_bounded(
    support: Any, many: Any, user: AbstractUser, caplog: pytest.LogCaptureFixture
) -> None:
    many(user, 150)
    with caplog.at_level(logging.INFO, "tokens"):
        ask(support, SESSIONS, "end_selected", [TokenSession.objects.first()], **across)
    (record,) = [record for record in caplog.records if record.name == "tokens"]
    assert record.getMessage().endswith(" and 50 more")
    assert len(record.getMessage()) < 5000


def test_what_could_not_be_done_has_left_a_line_in_the_log(
    support: Any,
    user: AbstractUser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OperationalError("gone")

    session = make_session(user)
    monkeypatch.setattr(sessions, "end_by_ids", fail)
    with caplog.at_level(logging.INFO, "tokens"), pytest.raises(OperationalError):
        ask(support, SESSIONS, "end_selected", [session], post="yes")
    assert str(session.sid) in caplog.text
    assert not LogEntry.objects.exists()


# Its bounds

across = {"select_across": "1", "post": "yes"}


@pytest.mark.parametrize(("url", "action"), ACTIONS)
def test_500_sessions_cost_no_more_statements_than_one(
    support: Any,
    many: Any,
    user: AbstractUser,
    make_user: Callable[..., AbstractUser],
    statements: Callable[[], Any],
    url: Any,
    action: Any,
) -> None:
    def end(owner: Any) -> int:
        rows = [owner] if url == USERS else TokenSession.objects.filter(user=owner)
        data = {"_selected_action": str(rows[0].pk), "action": action, **across}
        query = f"?username={owner.username}" if url == USERS else f"?user={owner.pk}"
        if url == USERS:
            data["select_across"] = "0"
        with statements() as ran:
            assert support.post(url + query, data).status_code == 302
        return len(ran)

    grace = make_user("grace")
    many(make_user("first"), 1)
    end(User.objects.get(username="first"))  # fills caches
    many(user, 1)
    many(grace, 500)
    assert end(user) == end(grace) <= 20
    assert not TokenSession.objects.exists()


def test_all_pages_are_ended_at_once(
    support: Any, many: Any, user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    many(user, 120)
    other = make_session(make_user("grace"))
    url = f"{SESSIONS}?user={user.pk}"
    first = [TokenSession.objects.filter(user=user).first()]
    question = ask(support, url, "end_selected", first, select_across="1")
    assert "<strong>120 sessions of 1 user</strong>" in question.text
    assert question.text.count('name="_selected_action"') == 1
    assert messages(say_yes(support, url, question)) == ["Ended 120 sessions of 1 user."]
    assert TokenSession.objects.get() == other


def test_who_logs_in_between_question_and_answer_stays(
    support: Any, many: Any, user: AbstractUser
) -> None:
    rows = many(user, 3)
    question = ask(support, SESSIONS, "end_selected", rows[:1], select_across="1")
    login = Login(user)
    assert messages(say_yes(support, SESSIONS, question)) == ["Ended 3 sessions of 1 user."]
    assert login.me().status_code == login.refresh().status_code == 200


def test_no_more_sessions_are_ended_than_the_bound_and_it_says_so(
    support: Any, many: Any, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "MAX_SESSIONS", 10)
    rows = many(user, 12)
    question = ask(support, SESSIONS, "end_selected", rows[:1], select_across="1")
    assert "These are the 10 newest ones" in question.text
    assert messages(say_yes(support, SESSIONS, question)) == ["Ended 10 sessions of 1 user."]
    left = TokenSession.objects.values_list("sid", flat=True)
    assert set(left) == set(sorted(row.sid for row in rows)[:2])


@pytest.mark.parametrize(("url", "action"), ACTIONS[1:], ids=["sessions", "users"])
def test_no_more_users_are_logged_out_than_the_bound(
    support: Any,
    make_user: Callable[..., AbstractUser],
    monkeypatch: pytest.MonkeyPatch,
    url: Any,
    action: Any,
) -> None:
    monkeypatch.setattr(ending, "MAX_USERS", 2)
    users = [make_user(name) for name in ("a", "b", "c")]
    rows = users if url == USERS else [make_session(user) for user in users]
    answer = ask(support, url, action, rows, post="yes")
    assert answer.status_code == 302
    assert "at most 2 users" in messages(support.get(url))[0]
    assert not BlacklistEntry.objects.exists()


def test_a_question_names_the_users_with_most_sessions_and_counts_the_others(
    support: Any, many: Any, make_user: Callable[..., AbstractUser]
) -> None:
    for number in range(23):
        make_session(make_user(f"user{number:02}"))
    many(User.objects.get(username="user22"), 3)
    question = ask(support, SESSIONS, "end_everywhere", TokenSession.objects.all())
    assert "26 sessions of 23 users" in question.text
    assert "<li>user22: 4 sessions</li>" in question.text
    assert "and 3 more users" in question.text


def test_ending_works_in_a_request_transaction(
    support: Any, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", 1)
    session = make_session(user)
    ask(support, SESSIONS, "end_selected", [session], post="yes")
    assert not TokenSession.objects.exists()
    assert BlacklistEntry.objects.get().key == session.sid


# A project's own user admin


def test_a_users_page_links_to_the_sessions(
    support: Any, user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    make_session(user)
    make_session(user)
    make_session(make_user("grace"))
    text = support.get(reverse("admin:auth_user_change", args=[user.pk])).text
    link = f"{SESSIONS}?user={user.pk}"
    assert f'<a href="{link}">2 sessions</a>' in text
    assert len(support.get(link).context["cl"].result_list) == 2


def test_the_link_is_for_those_who_may_view_sessions(
    staff: Callable[..., Client], user: AbstractUser
) -> None:
    url = reverse("admin:auth_user_change", args=[user.pk])
    answer = staff("view_user", "change_user").get(url)
    assert answer.status_code == 200
    assert "tokensession" not in answer.text


def test_users_are_added_and_changed_as_before(
    staff: Callable[..., Client], user: AbstractUser
) -> None:
    root = staff(is_superuser=True)
    assert "token_sessions" not in root.get(reverse("admin:auth_user_add")).text
    url = reverse("admin:auth_user_change", args=[user.pk])
    form = root.get(url).context["adminform"].form
    data = {name: value for name, value in form.initial.items() if value is not None}
    data |= {"first_name": "Augusta", "date_joined_0": "2026-01-01", "date_joined_1": "10:00"}
    data = {name: value for name, value in data.items() if name not in ("groups", "date_joined")}
    assert root.post(url, data | {"user_permissions": []}).status_code == 302
    user.refresh_from_db()
    assert user.first_name == "Augusta"


def test_a_pop_up_offers_no_action(support: Any, user: AbstractUser) -> None:
    assert "end_all_sessions" in support.get(USERS).text
    assert "end_all_sessions" not in support.get(f"{USERS}?_popup=1").text
