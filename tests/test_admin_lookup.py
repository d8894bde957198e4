"""The admin's page that looks up a token: its answers, its acts, and what it keeps to itself."""

import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils.html import escape
from rest_framework_simplejwt.tokens import AccessToken as PlainAccessToken
from rest_framework_simplejwt.tokens import RefreshToken as PlainRefreshToken

from tokens import blacklist, clock, sessions
from tokens.conf import simplejwt
from tokens.jwt import AccessToken, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import HOUR, Login, bearer
from .forge import JTI, USER_ID
from .test_admin_sessions import say_yes

pytestmark = pytest.mark.django_db

URL = "/admin/tokens/lookup/"
EVERYTHING = ("view_blacklistentry", "view_tokensession", "view_user", "end_tokensession")


@pytest.fixture
def support(staff: Callable[..., Client]) -> Client:
    return staff(*EVERYTHING)


def look_up(client: Client, term: object) -> str:
    answer = client.post(URL, {"q": str(term)})
    assert answer.status_code == 200
    return str(answer.text.split('<section aria-live="polite">')[1])


def plain(cls: Any, user: User) -> Any:
    """Return a token as simplejwt issues it: without a session."""
    token = cls()
    token[USER_ID] = str(getattr(user, simplejwt.USER_ID_FIELD))
    return token


def page_of(user: User) -> str:
    options = user._meta
    return f"/admin/{options.app_label}/{options.model_name}/{user.pk}/change/"


# Answers


@pytest.mark.any_database
def test_the_index_of_the_admin_leads_there(support: Client) -> None:
    assert f'href="{URL}"' in support.get("/admin/").text
    assert "Look up" in support.get(URL).text


@pytest.mark.any_database
@pytest.mark.parametrize("cls", [PlainAccessToken, PlainRefreshToken, SlidingToken])
def test_a_token_without_a_session_is_accepted(support: Client, user: User, cls: Any) -> None:
    text = look_up(support, plain(cls, user))
    assert "Accepted until" in text
    assert user.username in text


@pytest.mark.any_database
@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_a_token_of_a_session_is_accepted(support: Client, user: User, kind: str) -> None:
    refresh = RefreshToken.for_user(user)
    text = look_up(support, refresh if kind == "refresh" else refresh.access_token)
    assert "Accepted until" in text
    assert refresh["sid"] in text
    assert (page_of(user) in text) is admin.site.is_registered(type(user))


END: dict[str, tuple[Callable[[User, Any], object], str]] = {
    "logout": (lambda user, token: token.blacklist(), "the user logged out"),
    "everywhere": (lambda user, token: sessions.end_all(user), "the user logged out everywhere"),
    "password": (lambda user, token: (user.set_password("x"), user.save()), "password was changed"),
    "deactivated": (lambda user, token: deactivate(user), "the user was deactivated"),
}


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


@pytest.mark.any_database
@pytest.mark.parametrize("cls", [AccessToken, RefreshToken])
@pytest.mark.parametrize("end", END)
@pytest.mark.parametrize("with_session", [True, False], ids=["session", "plain"])
def test_a_refused_token_says_since_when_and_why(
    support: Client, user: User, cls: Any, end: str, with_session: bool
) -> None:
    refresh = RefreshToken.for_user(user) if with_session else plain(PlainRefreshToken, user)
    token = refresh if cls is RefreshToken else refresh.access_token
    act, why = END[end]
    act(user, AccessToken(str(token)) if cls is AccessToken else RefreshToken(str(token)))
    text = look_up(support, token)
    assert f"Refused since {clock.now():%Y-%m-%d}" in text
    assert why in text
    assert user.username in text


@pytest.mark.any_database
def test_a_used_refresh_token_is_told_from_a_revoked_one(
    support: Client, user: User, log_in: Callable[[User], Login], settings: Any
) -> None:
    settings.TOKENS_ROTATION_GRACE = timedelta(0)
    login = log_in(user)
    assert login.refresh().status_code == 200
    text = look_up(support, login.refresh_token)
    assert "it was used before" in text
    assert TokenSession.objects.count() == 1  # asking is not using


@pytest.mark.any_database
def test_asking_about_a_token_does_not_use_it(
    support: Client, user: User, log_in: Callable[[User], Login]
) -> None:
    login = log_in(user)
    look_up(support, login.refresh_token)
    assert login.refresh().status_code == 200


@pytest.mark.any_database
def test_an_expired_token_is_refused_for_its_age(support: Client, user: User) -> None:
    token = plain(PlainAccessToken, user)
    token.set_exp(lifetime=-HOUR)
    assert "Expired on" in look_up(support, token)


@pytest.mark.any_database
@pytest.mark.parametrize("broken", ["forged", "cut", "words"])
def test_a_token_that_we_did_not_sign_is_said_to_be_bad(
    support: Client, user: User, broken: str
) -> None:
    token = str(RefreshToken.for_user(user))
    text = {"forged": token[:-9] + "AAAAAAAAA", "cut": token[:-9], "words": "eyJ and so on"}[broken]
    answer = look_up(support, text)
    assert "its signature is wrong" in answer
    assert user.username not in answer


@pytest.mark.any_database
def test_the_rest_of_the_refusals(support: Client, user: User) -> None:
    lost = RefreshToken.for_user(user)
    TokenSession.objects.all().delete()
    assert "its session is over" in look_up(support, lost)
    old = plain(PlainAccessToken, user)
    old.set_exp(lifetime=timedelta(days=500))
    assert "lives longer than such a token may" in look_up(support, old)
    orphan = plain(PlainAccessToken, user)
    orphan[USER_ID] = "987654"
    assert "user does not exist" in look_up(support, orphan)


@pytest.mark.parametrize(
    ("term", "found"),
    [
        (lambda user, refresh: refresh["sid"], "the user logged out"),
        (lambda user, refresh: refresh["sid"].upper(), "the user logged out"),
        (lambda user, refresh: user.username.upper(), "No session may go on"),
        (lambda user, refresh: user.email.upper(), "No session may go on"),
        (lambda user, refresh: user.pk, "No session may go on"),
        (lambda user, refresh: f" {user.email} ", "No session may go on"),
    ],
    ids=["sid", "SID", "NAME", "EMAIL", "key", "blanks"],
)
def test_other_things_are_found(support: Client, make_user: Any, term: Any, found: str) -> None:
    user = make_user("grace", email="grace@example.com")
    refresh = RefreshToken.for_user(user)
    refresh.blacklist()
    assert found in look_up(support, term(user, refresh))


def test_a_jti_and_an_address_are_found(support: Client, user: User) -> None:
    token = plain(PlainAccessToken, user)
    AccessToken(str(token)).blacklist()
    assert "the user logged out" in look_up(support, token[JTI])
    refresh = RefreshToken.for_user(user)
    TokenSession.objects.update(ip_address="2001:db8::1", user_agent="curl/8")
    for address in ("2001:db8::1", "2001:0DB8:0:0::1"):
        text = look_up(support, address)
        assert "may go on until" in text
        assert "curl/8" in text
        assert refresh["sid"] in text


@pytest.mark.parametrize(
    "term", ["nobody", "\0", "a\0b", "x" * 9000, "🙂" * 99, "1" * 400, "%_\\", "<b>"]
)
def test_what_nothing_is_called_gets_an_answer(support: Client, user: User, term: str) -> None:
    answer = support.post(URL, {"q": term})
    assert "Nothing here is called that" in answer.text
    assert "<b>" not in answer.text.split("<main")[-1].replace(escape("<b>"), "")


# Acts


@pytest.mark.any_database
def test_a_session_is_ended_from_its_answer(
    support: Client, user: User, log_in: Callable[[User], Login]
) -> None:
    login = log_in(user)
    text = look_up(support, login.access)
    link = text.split('tokens-act" href="')[1].split('"')[0]
    question = support.get(link)
    assert "You are about to end" in question.text
    assert login.me().status_code == 200
    say_yes(support, link, question)
    assert login.me().status_code == 401


def revoke(client: Client, text: str) -> Any:
    signed = text.split('name="revoke" value="')[1].split('"')[0]
    return client.post(URL, {"revoke": signed}, follow=True)


def test_a_single_token_is_revoked_from_its_answer(
    support: Client, user: User, log_in: Callable[[User], Login], caplog: Any
) -> None:
    login = log_in(user)
    with caplog.at_level(logging.INFO, "tokens"):
        answer = revoke(support, look_up(support, login.access))
    assert "is refused from now on" in answer.text
    assert login.me().status_code == 401
    assert login.refresh().status_code == 200  # the session goes on
    entry = BlacklistEntry.objects.get(scope="token")
    assert (entry.reason, entry.user_id) == ("admin", user.pk)
    record = LogEntry.objects.get(object_id=str(user.pk))
    assert entry.subject in record.change_message
    assert "token_revoked_in_admin" in [getattr(one, "event", "") for one in caplog.records]


@pytest.mark.any_database
def test_a_token_without_a_session_is_revoked_as_long_as_it_lives(
    support: Client, user: User
) -> None:
    token = plain(PlainRefreshToken, user)
    revoke(support, look_up(support, token))
    entry = BlacklistEntry.objects.get()
    assert clock.to_epoch(entry.expires_at) == token["exp"]
    assert "Refused since" in look_up(support, token)


@pytest.mark.any_database
@pytest.mark.parametrize("signed", ["", "x", "eyJ:a:b"])
def test_only_what_the_page_has_signed_is_revoked(support: Client, signed: str) -> None:
    answer = support.post(URL, {"revoke": signed}, follow=True)
    assert "Nothing was revoked" in answer.text
    assert not BlacklistEntry.objects.exists()


# Rights, and what the page keeps to itself


@pytest.mark.any_database
def test_nobody_asks_without_the_right(staff: Callable[..., Client], user: User) -> None:
    client = staff("view_tokensession", "view_user", "end_tokensession")
    assert client.get(URL).status_code == client.post(URL, {"q": "x"}).status_code == 403
    assert URL not in client.get("/admin/").text


@pytest.mark.any_database
def test_who_may_only_view_entries_sees_no_session_and_no_button(
    staff: Callable[..., Client], support: Client, user: User
) -> None:
    refresh = RefreshToken.for_user(user)
    TokenSession.objects.update(ip_address="203.0.113.7", user_agent="Firefox")
    client = staff("view_blacklistentry")
    text = look_up(client, refresh.access_token)
    assert "Accepted until" in text
    links = [page_of(user)] if admin.site.is_registered(type(user)) else []
    for hidden in ("203.0.113.7", "Firefox", "End this session", "Revoke this token", *links):
        assert hidden not in text
        assert hidden in look_up(support, refresh.access_token)
    signed = look_up(support, refresh.access_token).split('name="revoke" value="')[1].split('"')[0]
    assert client.post(URL, {"revoke": signed}).status_code == 403


@pytest.mark.any_database
def test_a_token_is_neither_shown_again_nor_stored_nor_logged(
    support: Client, user: User, caplog: Any
) -> None:
    token = str(RefreshToken.for_user(user))
    with caplog.at_level(logging.DEBUG):
        answer = support.post(URL, {"q": token})
    parts = [token, token.split(".")[1], token.split(".")[2]]
    assert not any(part in answer.text or part in caplog.text for part in parts)
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.any_database
def test_a_token_with_another_first_letter_is_not_shown_again_either(support: Client) -> None:
    """Its header may begin with a blank, as another library writes it."""
    token = ".".join(["eyAiYWxnIjoiSFMyNTYifQ", "eyAianRpIjoieCJ9" * 3, "c2lnbmF0dXJl" * 3])
    assert token not in support.post(URL, {"q": token}).text


@pytest.mark.any_database
@pytest.mark.parametrize("model", ["blacklistentry", "tokensession"])
def test_a_token_in_the_search_box_is_sent_to_the_page(support: Client, model: str) -> None:
    url = reverse(f"admin:tokens_{model}_changelist")
    assert "tokens/search.js" in support.get(url).text
    answer = support.get(url, {"q": "eyJhbGciOi.x.y"})
    assert (answer.status_code, answer["Location"]) == (302, URL)


@pytest.mark.any_database
@pytest.mark.parametrize("model", ["blacklistentry", "tokensession"])
def test_a_search_that_finds_nothing_does_not_say_not_refused(support: Client, model: str) -> None:
    text = support.get(reverse(f"admin:tokens_{model}_changelist"), {"q": "unknown-jti"}).text
    assert "0 results" not in text
    assert f'<a href="{URL}">Look it up</a>' in text


def test_the_page_works_in_a_cross_read(support: Client, user: User, statements: Any) -> None:
    token = RefreshToken.for_user(user).access_token
    with statements() as ran:
        look_up(support, token)
    assert len(ran) <= 12


@pytest.mark.any_database
def test_an_answer_to_the_api_agrees(
    support: Client, user: User, log_in: Callable[[User], Login]
) -> None:
    login = log_in(user)
    blacklist.revoke_user(user.pk, str(user.pk))
    accepted = login.api.get("/api/me/", **bearer(login.access)).status_code == 200
    assert ("Accepted" in look_up(support, login.access)) is accepted


# Markup


@pytest.mark.any_database
def test_the_path_of_our_pages_has_the_markup_of_this_django(support: Client, user: User) -> None:
    """Its style sheet knows one element only: ``div`` before Django 6.1, then ``ol``."""

    def element(page: str) -> str:
        found = re.search(r'<(\w+) class="breadcrumbs"', page)
        assert found is not None
        return found[1]

    sessions_url = "/admin/tokens/tokensession/"
    RefreshToken.for_user(user)
    data = {"action": "end_selected", "_selected_action": str(TokenSession.objects.get().pk)}
    question = support.post(sessions_url, data).text
    assert f'<a href="{sessions_url}">' in question
    djangos = element(support.get(sessions_url).text)
    assert element(question) == element(support.get(URL).text) == djangos
