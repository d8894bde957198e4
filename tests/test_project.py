import pytest
from django.db import OperationalError

from tokens import clock
from tokens.models import CleanupRun
from tokens.querysets import RunQuerySet


@pytest.mark.django_db
def test_the_home_page_is_for_anybody_and_leads_on(client):
    answer = client.get("/")
    assert answer.status_code == 200
    for url in ("/admin/", "/api/docs/", "/api/schema/", "/health/"):
        assert f'href="{url}"' in answer.text
    assert "http://testserver/api/logout/" in answer.text
    assert "has not run yet" in answer.text


@pytest.mark.django_db
def test_the_home_page_says_when_the_cleanup_last_succeeded(client, statements):
    CleanupRun.objects.create(trigger="command", outcome="succeeded", finished_at=clock.now())
    with statements() as ran:
        assert "last succeeded 0\xa0minutes ago" in client.get("/").text
    assert len(ran) == 1


def test_the_home_page_is_there_when_the_database_is_not(client, monkeypatch):
    def fail(self):
        raise OperationalError("no such table")

    monkeypatch.setattr(RunQuerySet, "last_success", fail)
    answer = client.get("/")
    assert answer.status_code == 200
    assert "be read" in answer.text


@pytest.mark.django_db
def test_the_home_page_loads_nothing_from_elsewhere_and_takes_no_post(client):
    text = client.get("/").text
    assert "<script" not in text
    assert "<link" not in text
    assert "src=" not in text
    assert client.post("/").status_code == 405
