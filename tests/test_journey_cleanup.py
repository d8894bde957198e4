"""The whole way of the cleanup in a server: through the ASGI application, on the real database."""

import asyncio
import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client

from project.asgi import application as django_application
from tests import deleting
from tests.deleting import replace_batches
from tokens import cleanup, clock, retry
from tokens.models import BlacklistEntry, CleanupRun
from tokens.schedule import periodic
from tokens.schedule.lifespan import CleanupLifespan

from .asgi import Server, serving, until
from .conftest import DAY
from .expiring import IN_A_WHILE, add_entries, add_run
from .processes import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again soon, where hours would pass otherwise."""
    monkeypatch.setattr(periodic, "_SHORTEST", timedelta(milliseconds=20))
    monkeypatch.setattr(periodic, "_FIRST_RETRY", timedelta(milliseconds=20))


class Batches:
    """The event that a batch is at work, and the one that it waits for."""

    def __init__(self) -> None:
        self.at_work, self.may_end = threading.Event(), threading.Event()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Batches of entries that end when they are told to."""
    events, real = Batches(), deleting.real

    def delete_batch(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> Any:
        events.at_work.set()
        assert events.may_end.wait(PATIENCE)
        return real(self, cutoff, limit=limit, reached=reached)

    replace_batches(monkeypatch, delete_batch)
    return events


def asked(question: Any) -> Any:
    """Return the question, to be asked in a thread that keeps no connection."""

    def ask() -> Any:
        try:
            return question()
        finally:
            connections.close_all()

    return ask


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What came of each attempt of the loop so far."""
    found = []
    real = periodic.Periodic._attempt

    def attempt(self: Any) -> Any:
        report, wait = real(self)
        found.append(report.skipped or str(report.outcome))
        return report, wait

    monkeypatch.setattr(periodic.Periodic, "_attempt", attempt)
    return found


def outcomes() -> Any:
    return list(CleanupRun.objects.order_by("pk").values_list("outcome", flat=True))


def served(work: Any, *, application: Any = django_application) -> None:
    """Serve the application while ``work``, a coroutine function of its client, goes on."""

    async def main() -> None:
        async with serving(application) as client:
            await work(client)

    asyncio.run(main())


def test_it_starts_with_the_application(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tokens")
    add_entries(3)
    add_entries(2, ends=IN_A_WHILE)

    async def work(client: Client) -> None:
        await until(asked(lambda: outcomes() == ["succeeded"]))

    served(work)
    assert BlacklistEntry.objects.count() == 2
    assert CleanupRun.objects.get().trigger == "lifespan"
    assert caplog.messages == [
        "Starting background task for token cleanup...",
        "Token cleanup task started. Will run every 24 hours.",
        "Running scheduled token cleanup...",
        "Scheduled cleanup completed: removed 3 expired token(s)",
        "Token cleanup task stopped.",
    ]


def test_it_runs_at_the_interval(settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = timedelta(milliseconds=50)

    async def work(client: Client) -> None:
        for count in (1, 2, 3):
            await asyncio.to_thread(asked(lambda: add_entries(1)))
            await until(asked(lambda: not BlacklistEntry.objects.exists()))
            assert len(await asyncio.to_thread(asked(outcomes))) >= count

    served(work)
    assert set(outcomes()) == {"succeeded"}
    moments = CleanupRun.objects.order_by("pk").values_list("started_at", "finished_at")
    for (_, finished), (started, _) in zip(moments, list(moments)[1:], strict=False):
        assert started - finished >= timedelta(milliseconds=49)


def test_it_does_not_run_again_because_the_application_was_restarted(attempts: Any) -> None:
    add_run(ago=DAY / 2)
    add_entries(1)
    for count in (1, 2):

        async def work(client: Client, count: Any = count) -> None:
            await until(lambda: len(attempts) >= count)

        served(work)
    assert attempts == ["not due", "not due"]
    assert CleanupRun.objects.count() == 1
    assert BlacklistEntry.objects.exists()


def test_it_survives_errors(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_entries(1)
    monkeypatch.setattr(retry, "WAITS", ())
    patch = pytest.MonkeyPatch()

    def fail(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> None:
        raise OperationalError("disk full")

    replace_batches(patch, fail)

    async def work(client: Client) -> None:
        await until(asked(lambda: len(outcomes()) >= 2))
        assert (await client.get("/health/")).status_code == 200
        patch.undo()
        await until(asked(lambda: outcomes()[-1] == "succeeded"))

    served(work)
    assert set(outcomes()[:-1]) == {"failed"}
    assert not BlacklistEntry.objects.exists()
    assert "Scheduled token cleanup failed: OperationalError: disk full." in caplog.text


def test_it_respects_a_custom_interval(caplog: pytest.LogCaptureFixture, attempts: Any) -> None:
    caplog.set_level(logging.INFO, "tokens")
    add_run(ago=2 * DAY)
    custom = CleanupLifespan(django_application.application, interval="3d")

    async def work(client: Client) -> None:
        await until(lambda: attempts == ["not due"])
        assert len(await asyncio.to_thread(asked(outcomes))) == 1
        await asyncio.to_thread(
            asked(lambda: CleanupRun.objects.update(finished_at=clock.now() - 3 * DAY))
        )

    served(work, application=custom)
    assert CleanupRun.objects.count() == 1
    assert "Token cleanup task started. Will run every 3 days." in caplog.messages

    async def wait_for_it(client: Client) -> None:
        await until(asked(lambda: CleanupRun.objects.count() == 2))

    served(wait_for_it, application=custom)


def test_it_is_cancelled_gracefully_in_the_middle_of_a_run(
    batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cleanup.run

    def run(*, stop: Any, **options: Any) -> Any:
        batches.may_end = stop
        return real(stop=stop, batch_size=2, **options)

    monkeypatch.setattr(cleanup, "run", run)
    add_entries(5)

    async def main() -> None:
        server = Server(django_application)
        await server.tell("startup")
        await until(batches.at_work.is_set)
        assert (await server.tell("shutdown"))["type"] == "lifespan.shutdown.complete"

    asyncio.run(main())
    run = CleanupRun.objects.get()
    assert (run.outcome, run.slot, run.entries_removed) == ("partial", None, 2)
    assert BlacklistEntry.objects.count() == 3


def test_health_and_root_answer_while_it_runs(batches: Any) -> None:
    add_entries(10)

    async def work(client: Client) -> None:
        await until(batches.at_work.is_set)
        for path in ("/", "/health/"):
            answer = await client.get(path)
            assert answer.status_code == 200
        assert answer.json()["cleanup"]["last_success"] is None
        assert await asyncio.to_thread(asked(outcomes)) == ["running"]
        batches.may_end.set()
        await until(asked(lambda: outcomes() == ["succeeded"]))
        assert (await client.get("/health/")).json()["cleanup"]["last_success"] is not None

    served(work)
