"""Run asynchronous code in a test, and see what it costs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from .conftest import NOT_STATEMENTS
from .processes import PATIENCE

T = TypeVar("T")


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what the coroutine function returns, in an event loop of its own."""

    async def main() -> T:
        try:
            return await asyncio.wait_for(work(), PATIENCE)
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(main())


@asynccontextmanager
async def statements() -> AsyncIterator[list[str]]:
    """Give the list of the statements that ``sync_to_async`` runs meanwhile."""
    found: list[str] = []
    captured = CaptureQueriesContext(connection)
    await sync_to_async(captured.__enter__)()
    try:
        yield found
    finally:
        await sync_to_async(captured.__exit__)(None, None, None)
        queries = await sync_to_async(lambda: captured.captured_queries)()
        found += [
            query["sql"] for query in queries if not query["sql"].upper().startswith(NOT_STATEMENTS)
        ]


@contextmanager
def hops(monkeypatch: Any) -> Iterator[list[str]]:
    """Give the list of what ``sync_to_async`` calls meanwhile, by name."""
    found: list[str] = []
    real = SyncToAsync.__call__

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(getattr(self.func, "__name__", str(self.func)))
        return await real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(SyncToAsync, "__call__", call)
        yield found
