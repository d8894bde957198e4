"""Play the server for an ASGI application: start it, ask it, shut it down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from .processes import PATIENCE


class Server:
    """The server's side of the lifespan protocol."""

    def __init__(self, application: Any) -> None:
        self.application, self.state = application, {}
        self._to, self._answers = asyncio.Queue(), asyncio.Queue()
        self.task = None

    async def tell(self, event: Any) -> Any:
        """Say "startup" or "shutdown"; return the application's answer."""
        if self.task is None:
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
            self.task = asyncio.create_task(
                self.application(scope, self._to.get, self._answers.put)
            )
        await self._to.put({"type": f"lifespan.{event}"})
        return await asyncio.wait_for(self._answers.get(), PATIENCE)


@asynccontextmanager
async def serving(application: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the started application, and shut it down."""
    server = Server(application)
    assert await server.tell("startup") == {"type": "lifespan.startup.complete"}
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
    assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
    await asyncio.wait_for(server.task, PATIENCE)


async def until(happened: Any, *, seconds: Any = PATIENCE) -> None:
    """Wait until ``happened``, asked in a thread, says so; the event loop stays free."""
    for _ in range(seconds * 50):
        if await asyncio.to_thread(happened):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"it did not happen within {seconds} seconds")
