"""What entries say, made one by one and by the database for many."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.forms import model_to_dict

from tokens import blacklist, clock, entries
from tokens.jwt import RefreshToken
from tokens.keys import key_for
from tokens.models import BlacklistEntry, TokenSession


@pytest.mark.django_db
@pytest.mark.parametrize("lives", [timedelta(days=1), timedelta(seconds=1)], ids=str)
def test_an_entry_made_by_the_database_says_what_one_made_here_says(
    lives: timedelta, user: AbstractUser, settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"REFRESH_TOKEN_LIFETIME": lives}
    RefreshToken.for_user(user)
    session = TokenSession.objects.get()
    lifetime, before = settings.SIMPLE_JWT["ACCESS_TOKEN_LIFETIME"], clock.now()
    blacklist.revoke_sessions(TokenSession.objects.filter(user=user), reason="logout")
    entry = BlacklistEntry.objects.get()
    least, most = (max(session.expires_at, now + lifetime) for now in (before, clock.now()))
    assert least <= entry.expires_at <= most
    expected = entries.of_session(
        session.sid, user_pk=user.pk, reason="logout", expires_at=entry.expires_at
    )
    expected.created_at = entry.created_at
    assert entry.key == expected.key
    assert model_to_dict(entry) == model_to_dict(expected)


@pytest.mark.parametrize("text", ["a-jti", "é\n\\n", "\U0001f600", "\0", "\\x41 is no A"])
def test_subjects_are_readable_and_lead_back(text: str) -> None:
    claims = replace(RefreshToken().claims, jti=text)
    entry = entries.of_token(claims, user_pk=None, reason="revoked")
    assert entry.subject.isascii()
    assert entry.subject.isprintable()
    assert entries.subject_shown_as(entry.subject) == text


def test_the_subject_of_a_user_is_the_key_and_not_the_id_in_tokens() -> None:
    entry = entries.of_user(7, "ada@example.com", reason="revoked", before=clock.now())
    assert (entry.subject, entry.user_id) == ("7", 7)
    assert entry.key == key_for("user", "ada@example.com", issuer="")
