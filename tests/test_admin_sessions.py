"""Ending sessions in the admin: the question, the act, its record, and its bounds."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AbstractUser, User
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken

from tokens import clock, databases, sessions
from tokens.admin import ending
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, TokenSession

from .conftest import Login
from .test_admin import make_entry, make_session, page

pytestmark = pytest.mark.django_db

SESSIONS = "/admin/tokens/tokensession/"
ENTRIES = "/admin/tokens/blacklistentry/"
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


@pytest.mark.any_database
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
    assert "<li>ada: 1 session" in question.text
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


@pytest.mark.any_database
def test_a_user_without_sessions_can_be_logged_out_everywhere(
    support: Any, user: AbstractUser
) -> None:
    plain = str(PlainAccessToken.for_user(user))
    question = ask(support, USERS, "end_all_sessions", [user])
    assert "<li>ada: 0 sessions</li>" in question.text
    assert messages(say_yes(support, USERS, question)) == ["Ended 0 sessions of 1 user."]
    api = Client()
    assert api.get("/api/me/", HTTP_AUTHORIZATION=f"Bearer {plain}").status_code == 401


@pytest.mark.any_database
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


def end_page(session: TokenSession) -> str:
    return page("tokensession", "end", session.pk)


@pytest.mark.any_database
def test_a_sessions_page_has_a_link_for_those_who_may_end_it(
    support: Any, staff: Callable[..., Client], user: AbstractUser
) -> None:
    login, other = Login(user), Login(user)
    session = TokenSession.objects.order_by("sid").first()
    assert session is not None
    TokenSession.objects.update(user_agent="curl/8.5.0", ip_address="203.0.113.7")
    url, link = page("tokensession", "change", session.pk), end_page(session)
    assert link not in staff("view_tokensession").get(url).text
    assert f'href="{link}"' in support.get(url).text
    question = support.get(link)
    assert "<li>ada: 1 session" in question.text
    assert question.text.count("<li>curl, 203.0.113.7, logged in <time") == 1
    assert login.me().status_code == 200
    answer = say_yes(support, link, question)
    assert login.me().status_code == 401
    assert other.me().status_code == 200
    assert answer.redirect_chain == [(f"{SESSIONS}?user={user.pk}", 302)]
    assert messages(answer) == ["Ended 1 session of 1 user."]


@pytest.mark.any_database
@pytest.mark.parametrize("method", ["get", "post"])
def test_the_pages_that_end_sessions_are_for_those_who_may(
    staff: Callable[..., Client], user: AbstractUser, method: str
) -> None:
    session = make_session(user)
    client = staff("view_tokensession", "view_user", "change_user")
    for link in (end_page(session), page("tokensession", "end_all", user.pk)):
        assert getattr(client, method)(link, {"post": "yes"}).status_code == 403
    assert TokenSession.objects.count() == 1


@pytest.mark.any_database
def test_a_session_that_is_over_or_never_was_is_no_error(support: Any, user: AbstractUser) -> None:
    gone = make_session(user)
    link = end_page(gone)
    sessions.end_all(user)
    answer = support.get(link, follow=True)
    assert messages(answer) == ["These sessions had already ended."]
    assert support.get(page("tokensession", "end_all", "nobody"), follow=True).status_code == 200


@pytest.mark.any_database
def test_sessions_that_ended_meanwhile_are_no_error(support: Any, user: AbstractUser) -> None:
    session = make_session(user)
    question = ask(support, SESSIONS, "end_selected", [session])
    sessions.end_all(user)
    answer = say_yes(support, SESSIONS, question)
    assert messages(answer) == ["These sessions had already ended."]
    answer = ask(support, SESSIONS, "end_everywhere", [session], post="yes")
    assert answer.status_code == 302


@pytest.mark.any_database
def test_sessions_of_users_who_are_gone_can_be_ended(support: Any) -> None:
    session = make_session(None, user_id=987654)
    question = ask(support, SESSIONS, "end_everywhere", [session])
    assert "987654 (deleted)" in question.text
    assert messages(say_yes(support, SESSIONS, question)) == ["Ended 1 session of 1 user."]
    assert BlacklistEntry.objects.get().user_id == 987654
    assert LogEntry.objects.get().object_repr == "987654 (deleted)"


@pytest.mark.any_database
def test_names_are_escaped(support: Any, make_user: Callable[..., AbstractUser]) -> None:
    evil = "<script>alert(1)</script>"
    session = make_session(make_user(evil))
    assert evil not in ask(support, SESSIONS, "end_selected", [session]).text


@pytest.mark.any_database
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


@pytest.mark.any_database
def test_each_users_history_tells_who_ended_what(
    support: Any,
    root_client: Any,
    many: Any,
    user: AbstractUser,
    make_user: Callable[..., AbstractUser],
    caplog: pytest.LogCaptureFixture,
) -> None:
    adas, graces = many(user, 3), many(make_user("grace"), 2)
    TokenSession.objects.update(user_agent="curl/8.5.0", ip_address="203.0.113.7")
    question = ask(support, SESSIONS, "end_selected", TokenSession.objects.all())
    with caplog.at_level(logging.INFO, "tokens"):
        say_yes(support, SESSIONS, question)
    logged = LogEntry.objects.order_by("object_repr")
    assert [entry.object_repr for entry in logged] == ["ada", "grace"]
    for entry, ended in zip(logged, (adas, graces), strict=True):
        assert entry.change_message.startswith(f"Ended {len(ended)} sessions: ")
        for session in ended:
            assert f"{session.sid} (curl, 203.0.113.7)" in entry.change_message
            assert f"{session.sid} (curl, 203.0.113.7)" in caplog.text
    history = root_client.get(reverse("admin:auth_user_history", args=[user.pk])).text
    assert "Ended 3 sessions: " in history
    assert "staff" in history


@pytest.fixture
def root_client(staff: Callable[..., Client]) -> Client:
    return staff(is_superuser=True)


@pytest.mark.any_database
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


@pytest.mark.any_database
def test_what_is_logged_is_bounded(
    support: Any, many: Any, user: AbstractUser, caplog: pytest.LogCaptureFixture
) -> None:
    many(user, 150)
    with caplog.at_level(logging.INFO, "tokens"):
        ask(support, SESSIONS, "end_selected", [TokenSession.objects.first()], **across)
    (record,) = [record for record in caplog.records if record.name == "tokens"]
    assert record.getMessage().endswith(" and 50 more")
    assert len(record.getMessage()) < 5000


@pytest.mark.any_database
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


@pytest.mark.any_database
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


@pytest.mark.any_database
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
    assert "<li>user22: 4 sessions" in question.text
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


def about(client: Client, user: AbstractUser) -> str:
    """Return what the user's page says of the user's tokens."""
    text = client.get(reverse("admin:auth_user_change", args=[user.pk])).text
    assert text.index('class="tokens-person"') < text.index("field-username")
    found = text.split('<div class="tokens-person">')[1]
    return str(found.split("</fieldset>")[0])


def test_a_users_page_shows_the_live_sessions_and_the_last_revocations_first(
    staff: Callable[..., Client], user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    client = staff("view_tokensession", "end_tokensession", "view_user", "view_blacklistentry")
    phone = make_session(user, user_agent="okhttp/4.12.0", ip_address="203.0.113.7")
    make_session(user)
    make_session(user, expires_at=clock.now() - timedelta(hours=1))
    make_session(make_user("grace"), user_agent="Grace's phone")
    sessions.end_one(user, str(make_session(user).sid))
    text = about(client, user)
    assert f'<a href="{SESSIONS}?user={user.pk}">2 live sessions</a>' in text
    assert ">okhttp (app)</a></td>" in text
    assert "<td>203.0.113.7</td>" in text
    assert ">unknown device</a></td>" in text
    assert "Grace" not in text
    assert text.count("a session, logged out") == 1
    assert f"{ENTRIES}?user={user.pk}" in text
    assert len(client.get(f"{SESSIONS}?user={user.pk}").context["cl"].result_list) == 2
    link = f"{end_page(phone)}?from=user"
    assert f'href="{link}"' in text
    answer = say_yes(client, link, client.get(link))
    assert answer.redirect_chain == [(reverse("admin:auth_user_change", args=[user.pk]), 302)]
    text = about(client, user)
    assert "okhttp" not in text.split("Revoked last")[0]
    assert "a session, ended in the admin</a> (okhttp (app))" in text
    link = page("tokensession", "end_all", user.pk)
    assert f'href="{link}"' in about(client, user)
    say_yes(client, link, client.get(link))
    assert "0 live sessions" in about(client, user)


@pytest.mark.any_database
def test_a_users_page_opens_on_a_database_that_the_app_does_not_know(
    staff: Callable[..., Client], user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "supports", lambda connection: False)
    client = staff("view_tokensession", "view_user")
    answer = client.get(reverse("admin:auth_user_change", args=[user.pk]))
    assert answer.status_code == 200
    assert "tokens-person" not in answer.text


@pytest.mark.any_database
def test_a_session_that_is_over_is_not_counted_in_the_question(
    support: Any, user: AbstractUser
) -> None:
    make_session(user, expires_at=clock.now() - timedelta(minutes=1))
    question = ask(support, USERS, "end_all_sessions", [user])
    assert "<li>ada: 0 sessions" in question.text
    say_yes(support, USERS, question)
    assert not TokenSession.objects.exists()


def test_a_users_page_shows_ten_sessions_and_five_revocations_at_most(
    staff: Callable[..., Client],
    user: AbstractUser,
    many: Callable[..., list[Any]],
    statements: Callable[[], Any],
) -> None:
    client = staff("view_tokensession", "view_user", "view_blacklistentry")
    many(user, 12)
    for _ in range(7):
        make_entry(user=user)
    about(client, user)
    with statements() as ran:
        text = about(client, user)
    assert "12 live sessions" in text
    assert text.count("unknown device") == 10
    assert "These are the newest ones." in text
    assert text.count("one token, revoked") == 5
    assert "End" not in text.replace("Ended", "")
    assert len([sql for sql in ran if "tokens_" in sql]) == 3
    # Whoever may not view entries is shown none.
    assert "evocation" not in about(staff("view_tokensession", "view_user"), user)


@pytest.mark.any_database
def test_the_link_is_for_those_who_may_view_sessions(
    staff: Callable[..., Client], user: AbstractUser
) -> None:
    url = reverse("admin:auth_user_change", args=[user.pk])
    answer = staff("view_user", "change_user").get(url)
    assert answer.status_code == 200
    assert "tokensession" not in answer.text


@pytest.mark.any_database
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


@pytest.mark.any_database
def test_a_pop_up_offers_no_action(support: Any, user: AbstractUser) -> None:
    assert "end_all_sessions" in support.get(USERS).text
    assert "end_all_sessions" not in support.get(f"{USERS}?_popup=1").text
