import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler

from project.settings import BASE_DIR
from tokens import cleanup
from tokens.cleanup import CleanupReport
from tokens.schedule.lifespan import CleanupLifespan

from .asgi import Server, until
from .conftest import HOUR
from .processes import PATIENCE

pytestmark = pytest.mark.any_database


COMPLETE = {"type": "lifespan.startup.complete"}
ENDED = {"type": "lifespan.shutdown.complete"}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Hold each test to the rule that its threads end."""
    yield
    for thread in ours():
        thread.join(PATIENCE)
        assert not thread.is_alive()


def ours() -> Any:
    return [thread for thread in threading.enumerate() if thread.name == "token-cleanup"]


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The options that ``cleanup.run`` was called with; nothing is cleaned up."""
    calls = []

    def run(**options: Any) -> Any:
        calls.append(options)
        return CleanupReport("succeeded")

    monkeypatch.setattr(cleanup, "run", run)
    return calls


class App:
    """An application that takes part in the protocol, and says what it was told."""

    def __init__(self, answers: Any = (COMPLETE, ENDED), error: Any = None) -> None:
        self.told, self._answers, self._error = [], answers, error

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        for answer in self._answers:
            self.told.append((await receive())["type"])
            await send(answer)
        if self._error:
            raise self._error


async def raising(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")


async def returning(scope: Any, receive: Any, send: Any) -> None:
    pass


def live(application: Any, *, once: Any = lambda: True, **options: Any) -> Any:
    """Start the wrapped application and stop it, ``once`` that holds; return its two answers."""

    async def main() -> Any:
        server = Server(CleanupLifespan(application, **options))
        started = await server.tell("startup")
        if started != COMPLETE:
            await asyncio.wait_for(server.task, 10)
            return started, None
        await until(once)
        ended = await server.tell("shutdown")
        await asyncio.wait_for(server.task, 10)
        return started, ended

    return asyncio.run(main())


# Starting and stopping


def test_it_starts_with_the_server_and_stops_with_it(
    caplog: pytest.LogCaptureFixture, runs: Any
) -> None:
    caplog.set_level(logging.INFO, "tokens")
    assert live(ASGIHandler(), once=lambda: runs) == (COMPLETE, ENDED)
    assert caplog.messages == [
        "Starting background task for token cleanup...",
        "Token cleanup task started. Will run every 24 hours.",
        "Token cleanup task stopped.",
    ]
    assert ours() == []
    [options] = runs
    assert options.pop("stop").is_set()
    assert options == {
        "using": "default",
        "trigger": "lifespan",
        "if_due": True,
        "interval": timedelta(hours=24),
    }


@pytest.mark.parametrize(
    ("interval", "words"),
    [("90m", "every 90 minutes"), (2 * HOUR, "every 2 hours")],
    ids=["text", "timedelta"],
)
def test_the_interval_may_be_given(
    caplog: pytest.LogCaptureFixture, runs: Any, interval: Any, words: str
) -> None:
    caplog.set_level(logging.INFO, "tokens")

    async def main() -> None:
        server = Server(CleanupLifespan(returning, interval=interval))
        await server.tell("startup")
        await server.tell("shutdown")

    asyncio.run(main())
    assert f"Token cleanup task started. Will run {words}." in caplog.messages


@pytest.mark.parametrize("interval", ["soon", "24", HOUR * 0], ids=repr)
def test_a_wrong_interval_is_an_error_at_once(interval: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|has no unit|is not between 1 second"):
        CleanupLifespan(returning, interval=interval)


@pytest.mark.parametrize("interval", [0, 3600, 0.5, True, [HOUR]], ids=repr)
def test_a_number_without_a_unit_is_an_error_at_once(interval: Any) -> None:
    with pytest.raises(TypeError, match=r"An interval is a timedelta or a text like 24h"):
        CleanupLifespan(returning, interval=interval)


@pytest.mark.parametrize("value", [24, None, timedelta(0), -HOUR], ids=repr)
def test_a_setting_without_meaning_is_an_error_at_the_start(settings: Any, value: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = value
    app = App()
    started, _ = live(app)
    assert started["type"] == "lifespan.startup.failed"
    assert "TOKENS_CLEANUP_INTERVAL must be a timedelta above zero" in started["message"]
    assert app.told == ["lifespan.startup", "lifespan.shutdown"]
    assert ours() == []


def test_a_batch_that_hangs_is_left_behind_after_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, released = threading.Event(), threading.Event()

    def hang(**options: Any) -> Any:
        hanging.set()
        released.wait(PATIENCE)
        return CleanupReport("succeeded")

    monkeypatch.setattr(cleanup, "run", hang)
    assert live(returning, once=hanging.is_set, patience=0.1) == (COMPLETE, ENDED)
    [thread] = ours()
    assert thread.daemon
    assert "still running 0.1 s after it was asked to stop" in caplog.text
    released.set()


def test_it_stops_when_the_server_cancels_it(runs: Any) -> None:
    async def main() -> None:
        server = Server(CleanupLifespan(App()))
        await server.tell("startup")
        server.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server.task

    asyncio.run(main())
    for thread in ours():
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_one_instance_may_be_started_again(runs: Any) -> None:
    application = CleanupLifespan(returning)

    async def main() -> None:
        for count in (1, 2):
            server = Server(application)
            assert await server.tell("startup") == COMPLETE
            await until(lambda count=count: len(runs) == count)
            assert await server.tell("shutdown") == ENDED

    asyncio.run(main())
    assert len(runs) == 2


# The wrapped application


def test_every_other_scope_is_passed_on_unchanged() -> None:
    seen = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    scope, receive, send = {"type": "websocket"}, object(), object()
    asyncio.run(CleanupLifespan(app)(scope, receive, send))
    assert seen == [(scope, receive, send)]
    assert seen[0][0] is scope
    assert ours() == []


@pytest.mark.parametrize("application", [raising, returning])
def test_an_application_that_takes_no_part_is_served_all_the_same(
    application: Any, runs: Any
) -> None:
    assert live(application, once=lambda: runs) == (COMPLETE, ENDED)
    assert len(runs) == 1


def test_an_application_that_takes_part_is_told_and_shares_its_state(runs: Any) -> None:
    app = App()
    assert live(app, once=lambda: runs) == (COMPLETE, ENDED)
    assert app.told == ["lifespan.startup", "lifespan.shutdown"]
    assert app.scope["state"] == {}
    assert len(runs) == 1


@pytest.mark.parametrize("error", [None, RuntimeError("no cache")], ids=["returns", "raises"])
def test_an_application_that_fails_to_start_is_reported_and_nothing_is_cleaned_up(
    runs: Any, error: Any
) -> None:
    failed = {"type": "lifespan.startup.failed", "message": "no cache"}
    assert live(App([failed], error)) == (failed, None)
    assert runs == []


def test_an_application_that_fails_to_stop_is_reported() -> None:
    failed = {"type": "lifespan.shutdown.failed", "message": "no cache"}
    assert live(App([COMPLETE, failed]))[1] == failed


def test_an_application_that_raises_while_it_stops_is_reported() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        raise RuntimeError("no cache")

    assert live(app)[1] == {
        "type": "lifespan.shutdown.failed",
        "message": "RuntimeError: no cache",
    }


def test_an_application_that_ends_early_does_not_end_the_cleanup() -> None:
    assert live(App([COMPLETE], RuntimeError("gone"))) == (COMPLETE, ENDED)


def test_an_application_that_starts_slowly_is_waited_for(runs: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.2)
        assert runs == []
        await send(COMPLETE)
        await receive()
        await asyncio.sleep(0.2)
        await send(ENDED)

    assert live(app) == (COMPLETE, ENDED)


# Importing


@pytest.mark.slow
def test_it_can_be_imported_before_django_is_set_up() -> None:
    code = (
        "from tokens.schedule.lifespan import CleanupLifespan;"
        "CleanupLifespan(print, interval='24h')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BASE_DIR, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
