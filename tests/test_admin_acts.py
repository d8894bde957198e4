"""What the admin says of an act: who revoked, from where, and which device it was about."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.test import Client
from django.urls import reverse

from tokens import sessions
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import BlacklistEntry, TokenSession
from tokens.origin import Client as From
from tokens.origin import acting, used_by

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"

Staff = Callable[..., Client]


@pytest.fixture
def laptop(user: AbstractUser) -> RefreshToken:
    with used_by(From("203.0.113.7", FIREFOX, device_name="Ada's laptop")):
        return RefreshToken.for_user(user)


def shown(client: Client, entry: BlacklistEntry) -> str:
    return client.get(reverse("admin:tokens_blacklistentry_change", args=[entry.pk])).text


def look_up(client: Client, term: object) -> str:
    return client.post(reverse("admin:tokens_lookup_changelist"), {"q": str(term)}).text


def one_session(client: Client, token: RefreshToken) -> None:
    client.post(reverse("admin:tokens_tokensession_end", args=[token["sid"]]), {"post": "yes"})


def everywhere(client: Client, token: RefreshToken) -> None:
    [session] = TokenSession.objects.filter(sid=token["sid"])
    page = reverse("admin:tokens_tokensession_end_all", args=[session.user_id])
    client.post(page, {"post": "yes"})


@pytest.mark.parametrize("way", [one_session, everywhere])
def test_an_entry_says_who_ended_the_session_in_the_admin(
    staff: Staff, laptop: RefreshToken, way: Any
) -> None:
    client = staff("view_tokensession", "end_tokensession", "view_blacklistentry")
    client.defaults = {"HTTP_USER_AGENT": "curl/8.1", "REMOTE_ADDR": "198.51.100.6"}
    way(client, laptop)
    entry = BlacklistEntry.objects.get(key=laptop["sid"])
    assert (entry.reason, entry.by) == ("admin", client.session["_auth_user_id"])
    assert (entry.by_ip_address, entry.by_user_agent) == ("198.51.100.6", "curl/8.1")
    for text in (shown(client, entry), look_up(client, laptop["sid"])):
        for fact in ("Ada&#x27;s laptop (Firefox on Linux)", "203.0.113.7", "curl, 198.51.100.6"):
            assert fact in text
        assert ">staff" in text or "staff0" in text


def test_so_does_the_entry_of_a_token_that_was_revoked_there(
    staff: Staff, user: AbstractUser
) -> None:
    client, token = staff("view_blacklistentry", "end_tokensession"), AccessToken.for_user(user)
    page = client.post(reverse("admin:tokens_lookup_changelist"), {"q": str(token)})
    [answer] = page.context["answers"]
    client.post(reverse("admin:tokens_lookup_changelist"), {"revoke": answer["revoke"]})
    assert BlacklistEntry.objects.get().by == client.session["_auth_user_id"]


def test_reuse_shows_where_the_second_use_came_from(
    staff: Staff, user: AbstractUser, laptop: RefreshToken
) -> None:
    with used_by(From("198.51.100.6", "curl/8.1")):
        sessions.end_one(user, laptop["sid"], reason="reuse")
    text = look_up(staff("view_blacklistentry"), laptop["sid"])
    assert "Second use from" in text
    assert "curl, 198.51.100.6" in text


@pytest.mark.parametrize(
    "by", ["os:root@web-1", "<script>", "\U0001f480", "12345678901234567890123"]
)
def test_whoever_is_no_user_is_shown_as_text(
    staff: Staff, user: AbstractUser, laptop: RefreshToken, by: str
) -> None:
    with acting(by, note="<b>ticket</b>"):
        sessions.end_one(user, laptop["sid"])
    client = staff("view_blacklistentry")
    for text in (shown(client, BlacklistEntry.objects.get()), look_up(client, laptop["sid"])):
        assert by.replace("<", "&lt;").replace(">", "&gt;") in text
        assert "&lt;b&gt;ticket" in text


def test_what_is_not_known_is_a_dash(staff: Staff, user: AbstractUser) -> None:
    entry, _ = AccessToken.for_user(user).blacklist()
    assert ">None<" not in shown(staff("view_blacklistentry"), entry)
