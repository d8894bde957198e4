"""What hardly ever happens is answered all the same."""

import sys
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from rest_framework.response import Response

from tokens import cleanup, sessions
from tokens.api.errors import with_code
from tokens.checks.protection import check_urls
from tokens.exceptions import TokenRevoked
from tokens.jwt import RefreshToken
from tokens.management.commands._cleanup_text import stopped_early
from tokens.models import TokenSession
from tokens.schedule.crontab import config


def test_an_error_that_is_a_list_becomes_an_object_with_detail_and_code() -> None:
    answer = with_code(Response(["No.", "Never."], status=400))
    assert answer.data == {"errors": ["No.", "Never."], "detail": "No.", "code": "error"}


def test_a_run_that_lost_its_lease_says_who_goes_on() -> None:
    report = cleanup.CleanupReport(outcome="partial", stopped=cleanup.LEASE_LOST)
    assert stopped_early(report) == "Stopped early (lease lost): another run has taken over."


@pytest.mark.django_db
def test_before_the_first_run_a_verbose_check_says_that_there_was_none(capsys: Any) -> None:
    call_command("cleanup_tokens", check=True, verbosity=2)
    assert "\nLast run: none\n" in capsys.readouterr().out


@pytest.mark.django_db
def test_a_verbose_preview_says_what_has_expired_before_when(capsys: Any) -> None:
    call_command("cleanup_tokens", dry_run=True, verbosity=2)
    assert f"\nExpired before: {cleanup.preview().cutoff:%Y-%m-%d}" in capsys.readouterr().out


def test_a_project_without_urls_serves_no_view_that_could_be_wrong(settings: Any) -> None:
    settings.ROOT_URLCONF = None
    assert check_urls() == []


def test_a_program_that_is_called_manage_and_no_module_has_no_path(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CRONTAB_DJANGO_MANAGE_PATH = ""
    monkeypatch.setitem(sys.modules, "manage", ModuleType("manage"))
    assert config.manage_path() is None


@pytest.mark.django_db(transaction=True)
def test_a_session_that_ended_meanwhile_can_not_be_used_any_more(user: AbstractUser) -> None:
    token = RefreshToken.for_user(user)
    session = TokenSession.objects.get()
    TokenSession.objects.all().delete()
    with pytest.raises(TokenRevoked):
        sessions.touch(session, token.claims)
