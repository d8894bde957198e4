import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import Client

from project.settings import _KNOWN_SECRET as KNOWN_SECRET
from project.settings import BASE_DIR
from tokens import clock, snapshot
from tokens.cleanup import Status
from tokens.keys import key_for
from tokens.models import BlacklistEntry, CleanupRun
from tokens.querysets import RunQuerySet


@pytest.mark.django_db
def test_the_home_page_is_for_anybody_and_leads_on(client: Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    for url in ("/admin/", "/api/docs/", "/api/schema/", "/health/", "/metrics/"):
        assert f'href="{url}"' in answer.text
    assert "http://testserver/api/logout/" in answer.text
    assert "has not run yet" in answer.text


@pytest.mark.django_db
def test_the_home_page_says_when_the_cleanup_last_succeeded(
    client: Client, statements: Callable[[], Any]
) -> None:
    CleanupRun.objects.create(trigger="command", outcome="succeeded", finished_at=clock.now())
    with statements() as ran:
        assert "last succeeded 0\xa0minutes ago" in client.get("/").text
    assert len(ran) == 1


def test_the_home_page_is_there_when_the_database_is_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise OperationalError("no such table")

    monkeypatch.setattr(RunQuerySet, "last_success", fail)
    answer = client.get("/")
    assert answer.status_code == 200
    assert "be read" in answer.text


@pytest.mark.django_db
def test_the_home_page_loads_nothing_from_elsewhere_and_takes_no_post(client: Client) -> None:
    text = client.get("/").text
    assert "<script" not in text
    assert "<link" not in text
    assert "src=" not in text
    assert client.post("/").status_code == 405


def make_overdue() -> None:
    BlacklistEntry.objects.create(
        key=key_for("token", "x", issuer=""),
        scope="token",
        subject="x",
        expires_at=clock.now() - timedelta(days=1),
    )


@pytest.mark.django_db(transaction=True)
def test_health_tells_the_state_of_database_and_cleanup(client: Client) -> None:
    answer = client.get("/health/")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    facts = [*(field.name for field in fields(Status)), "crontab"]
    hidden = {"last_host", "last_error"}  # anybody may ask
    assert list(answer.json()["cleanup"]) == [name for name in facts if name not in hidden]
    assert answer.json()["checks"] == {"mode": "strict", "max_age": 0} | asdict(snapshot.facts())
    assert "no-store" in answer["Cache-Control"]
    call_command("cleanup_tokens", verbosity=0)
    assert client.get("/health/").json()["cleanup"]["last_success"] is not None


@pytest.mark.django_db(transaction=True)
def test_health_is_503_for_an_overdue_cleanup_only_if_strict(client: Client) -> None:
    make_overdue()
    answer = client.get("/health/")
    assert (answer.status_code, answer.json()["status"]) == (200, "overdue")
    assert answer.json()["cleanup"]["backlog"] == 1
    assert client.get("/health/?strict=0").status_code == 200
    assert client.get("/health/?strict=1").status_code == 503
    call_command("cleanup_tokens", verbosity=0)
    assert client.get("/health/?strict=1").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_health_calls_a_cleanup_overdue_whose_runs_all_stop_early(client: Client) -> None:
    for days in (3, 2, 1, 0):
        moment = clock.now() - timedelta(days=days)
        outcome = "succeeded" if days == 3 else "partial"
        CleanupRun.objects.create(
            trigger="command", outcome=outcome, started_at=moment, finished_at=moment
        )
    answer = client.get("/health/?strict=1")
    assert (answer.status_code, answer.json()["status"]) == (503, "overdue")


@pytest.mark.django_db(transaction=True)
def test_health_is_503_if_the_database_can_not_be_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        connection.close()
        patch.setitem(connection.settings_dict, "NAME", "/nowhere/at/all")
        patch.setitem(connection.settings_dict, "PORT", "1")
        answer = client.get("/health/")
        connection.close()
    assert (answer.status_code, answer.json()["database"]) == (503, "error")
    assert client.get("/health/").status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("cached_health")
def test_health_reads_a_state_once_be_it_good_or_bad(
    client: Client, statements: Callable[[], Any]
) -> None:
    client.get("/health/")
    with statements() as ran:
        assert client.get("/health/").status_code == 200
        assert client.get("/health/?strict=1").status_code == 200
    assert len(ran) == 2, ran
    cache.clear()
    make_overdue()
    assert client.get("/health/?strict=1").status_code == 503
    with statements() as ran:
        assert client.get("/health/?strict=1").status_code == 503
        assert client.get("/health/").json()["status"] == "overdue"
    assert len(ran) == 2, ran
    call_command("cleanup_tokens", verbosity=0)  # a run that has ended shows at once
    assert client.get("/health/?strict=1").status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("cached_health")
def test_health_tells_of_an_outage_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/health/").status_code == 200
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", "/nowhere/at/all")
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    assert client.get("/health/").status_code == 503
    connection.close()


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{}, {"SECRET_KEY": "short"}, {"SECRET_KEY": KNOWN_SECRET}],
    ids=["none", "short", "the one for debugging"],
)
def test_outside_debug_the_project_refuses_to_start_without_a_real_secret(
    environment: dict[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=BASE_DIR,
        env={"PATH": os.environ["PATH"], "DEBUG": "0"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Set SECRET_KEY" in done.stderr


@pytest.mark.any_database
@pytest.mark.slow
def test_with_a_real_secret_it_passes_the_deployment_checks() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "ERROR"],
        cwd=BASE_DIR,
        env={"PATH": os.environ["PATH"], "DEBUG": "0", "SECRET_KEY": "real" * 16},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
