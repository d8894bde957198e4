"""The snippets of docs/howto/async.md, each served by an ASGI application."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import httpx
import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth import get_user_model
from django.core.asgi import get_asgi_application
from django.db import OperationalError
from django.urls import path

from tokens import blacklist, sessions
from tokens.jwt import AccessToken, RefreshToken
from tokens.models import TokenSession

from .asynchronously import run
from .conftest import MINUTE
from .processes import PATIENCE
from .snippets import HOWTO, snippet

User: Any = get_user_model()

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

Ask = Callable[[str | None], Coroutine[Any, Any, httpx.Response]]


def executed(*beginnings: str) -> dict[str, Any]:
    """Return the names of these snippets, executed one after the other as one module."""
    names: dict[str, Any] = {"__name__": "snippets"}
    for beginning in beginnings:
        code = snippet("async", language="python", beginning=beginning, folder=HOWTO)
        exec(code, names)  # noqa: S102
    return names


@pytest.fixture
def access(user: Any) -> str:
    return str(RefreshToken.for_user(user).access_token)


def test_logging_in_and_out_works_as_documented(user: Any) -> None:
    log_in_and_out = executed("from tokens import sessions")["log_in_and_out"]
    devices, ended = run(lambda: log_in_and_out(user))
    assert (len(devices), ended) == (1, 0)
    assert blacklist.BlacklistEntry.objects.filter(key=devices[0]).exists()
    assert not TokenSession.objects.exists()


# Over HTTP


def urls_of(*patterns: Any) -> ModuleType:
    module = ModuleType("urls_of_a_snippet")
    module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
    return module


def ninja() -> Any:
    return path("", executed("from ninja import NinjaAPI")["api"].urls)


def plain_view() -> Any:
    return path("me", executed("from functools import wraps")["me"])


@pytest.fixture(params=[ninja, plain_view])
def asking(request: pytest.FixtureRequest, settings: Any) -> Any:
    settings.ROOT_URLCONF = urls_of(request.param())

    @asynccontextmanager
    async def client() -> Any:
        transport = httpx.ASGITransport(get_asgi_application())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:

            async def ask(token: str | None) -> httpx.Response:
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                return await http.get("/me", headers=headers)

            yield ask

    return client


def test_a_view_knows_its_user_and_refuses_revoked_tokens(
    asking: Any, user: Any, access: str
) -> None:
    async def work() -> None:
        async with asking() as ask:
            answer = await ask(access)
            assert (answer.status_code, answer.json()) == (200, {"name": "ada"})
            for wrong in ("x", access + "x"):
                answer = await ask(wrong)
                assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid")
            assert (await ask(None)).status_code == 401
            await sessions.aend_all(user)
            answer = await ask(access)
            assert (answer.status_code, answer.json()["code"]) == (401, "token_not_valid")

    run(work)


def test_a_view_knows_that_its_user_may_not_be_let_in(asking: Any, user: Any, access: str) -> None:
    User.objects.update(is_active=False)

    async def work() -> None:
        async with asking() as ask:
            answer = await ask(access)
            assert (answer.status_code, answer.json()["code"]) == (401, "user_inactive")

    run(work)


def test_a_view_answers_503_without_a_database(
    asking: Any, access: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(blacklist, "_user_of", fail)

    async def work() -> None:
        async with asking() as ask:
            answer = await ask(access)
            assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")

    run(work)


# A websocket


class Socket:
    """A client of a websocket, as an ASGI server sees it."""

    def __init__(self, application: Any, token: str | None) -> None:
        scope = {
            "type": "websocket",
            "path": "/ws/echo/",
            "headers": [],
            "query_string": b"",
            "subprotocols": [] if token is None else ["bearer", token],
        }
        self._it = ApplicationCommunicator(application, scope)

    async def connect(self) -> Any:
        await self._it.send_input({"type": "websocket.connect"})
        return await self._it.receive_output(PATIENCE)

    async def say(self, what: str) -> Any:
        text = json.dumps(what)
        await self._it.send_input({"type": "websocket.receive", "text": text})
        return json.loads((await self._it.receive_output(PATIENCE))["text"])

    async def receive(self) -> Any:
        return await self._it.receive_output(PATIENCE)

    async def leave(self) -> None:
        await self._it.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._it.wait(PATIENCE)

    async def wait(self) -> None:
        await self._it.wait(PATIENCE)


@pytest.fixture
def snippets() -> dict[str, Any]:
    names = executed(
        "import asyncio",
        "from channels.generic.websocket import",
        "from channels.routing import",
    )
    names["SECONDS"] = 0.05
    return names


CLOSED = {"type": "websocket.close", "code": 4401}


def test_a_websocket_knows_its_user(snippets: dict[str, Any], access: str) -> None:
    async def work() -> None:
        socket = Socket(snippets["application"], access)
        accepted = await socket.connect()
        assert accepted["type"] == "websocket.accept"
        assert accepted["subprotocol"] == "bearer"
        assert await socket.say("hello") == {"user": "ada", "said": "hello"}
        await asyncio.sleep(0.2)  # it was asked about meanwhile
        assert await socket.say("still here") == {"user": "ada", "said": "still here"}
        await socket.leave()

    run(work)


@pytest.mark.parametrize("token", [None, "x", "revoked"])
def test_a_websocket_is_not_opened_with_a_refused_token(
    token: str | None, snippets: dict[str, Any], access: str
) -> None:
    if token == "revoked":
        token = access
        AccessToken(access).blacklist()

    async def work() -> None:
        socket = Socket(snippets["application"], token)
        assert await socket.connect() == CLOSED
        await socket.wait()

    run(work)


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize("end", ["revoked", "logged out", "deactivated"])
def test_a_websocket_is_closed_when_its_token_is_refused(
    end: str, is_cached: bool, snippets: dict[str, Any], user: Any, access: str, settings: Any
) -> None:
    settings.TOKENS_CHECK_MAX_AGE = MINUTE / 600 * is_cached
    left: list[int] = []

    class Consumer(snippets["EchoConsumer"]):  # type: ignore[misc]
        async def disconnect(self, code: int) -> None:
            left.append(code)

    async def work() -> None:
        application = snippets["TokenMiddleware"](Consumer.as_asgi())
        socket = Socket(application, access)
        assert (await socket.connect())["type"] == "websocket.accept"
        assert (await socket.say("hello"))["user"] == "ada"
        if end == "revoked":
            await (await AccessToken.averify(access)).ablacklist()
        elif end == "logged out":
            await sessions.aend_all(user)
        elif end == "deactivated":
            user.is_active = False
            await user.asave()
        assert await socket.receive() == CLOSED
        await socket.wait()
        assert left == [4401]

    run(work)


def test_a_websocket_is_closed_when_its_token_expires(
    snippets: dict[str, Any], access: str
) -> None:
    token = AccessToken(access)

    async def work() -> None:
        for seconds in (2, 20, 150):  # a busy machine may be too late to connect
            token.set_exp(from_time=datetime.now(UTC), lifetime=timedelta(seconds=seconds))
            socket = Socket(snippets["application"], str(token))
            if (await socket.connect())["type"] == "websocket.accept":
                break
            await socket.wait()
        assert await socket.receive() == CLOSED
        await socket.wait()

    run(work)


def test_nothing_is_left_when_the_client_leaves(snippets: dict[str, Any], access: str) -> None:
    async def work() -> None:
        before = asyncio.all_tasks()
        socket = Socket(snippets["application"], access)
        await socket.connect()
        await socket.leave()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before

    run(work)
