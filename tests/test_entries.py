"""What entries say, made one by one and by the database for many."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.forms import model_to_dict

from tokens import blacklist, entries
from tokens.jwt import RefreshToken
from tokens.models import BlacklistEntry, TokenSession


@pytest.mark.django_db
@pytest.mark.parametrize("lives", [timedelta(days=1), timedelta(seconds=1)], ids=str)
def test_an_entry_made_by_the_database_says_what_one_made_here_says(
    lives: timedelta, user: AbstractUser, settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"REFRESH_TOKEN_LIFETIME": lives}
    RefreshToken.for_user(user)
    session = TokenSession.objects.get()
    blacklist.revoke_sessions(TokenSession.objects.filter(user=user), reason="logout")
    entry = BlacklistEntry.objects.get()
    end = entry.created_at + settings.SIMPLE_JWT["ACCESS_TOKEN_LIFETIME"]
    expected = entries.of_session(
        session.sid,
        user_pk=user.pk,
        reason="logout",
        expires_at=max(session.expires_at, end),
    )
    expected.created_at = entry.created_at
    assert entry.key == expected.key
    assert model_to_dict(entry) == model_to_dict(expected)


@pytest.mark.parametrize("text", ["a-jti", "é\n\\n", "\U0001f600", "\0", "\\x41 is no A"])
def test_subjects_are_readable_and_lead_back(text: str) -> None:
    entry = entries.of_user(1, text, reason="revoked", before=BlacklistEntry().created_at)
    assert entry.subject.isascii()
    assert entry.subject.isprintable()
    assert entries.subject_shown_as(entry.subject) == text
