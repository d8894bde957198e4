"""The cleanup in an ASGI server: ``application = CleanupLifespan(get_asgi_application())``.

An ASGI server announces its start and stop through the ``lifespan`` protocol. Django does not
implement it, so this wrapper does. The cleanup runs in its own thread and blocks no request. If
several processes serve, all of them ask whether it is due, and one cleans up.

Models are imported when the server starts, so this can be imported before ``django.setup()``.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

from ..conf import conf
from ..log import logger
from . import durations

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class CleanupLifespan:
    """An ASGI application that wraps another one, and cleans up between startup and shutdown.

    ``interval`` is a ``timedelta``, or a text such as ``24h`` or ``1h30m``. Without it,
    TOKENS_CLEANUP_INTERVAL counts and is read each time. Raises TypeError or ValueError if the
    interval is anything else.

    A stopping server waits up to ``patience`` seconds for the current batch. Containers get 10 to
    stop.
    """

    def __init__(
        self,
        application: Application,
        *,
        interval: timedelta | str | None = None,
        patience: float = 8.0,
    ) -> None:
        self.application, self.patience = application, patience
        self.interval = None if interval is None else durations.interval(interval)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the ``lifespan`` protocol; leave everything else to the application."""
        if scope["type"] != "lifespan":
            await self.application(scope, receive, send)
            return
        inner, task = _Inner(self.application, scope), _Task(self.interval, self.patience)
        try:
            await receive()
            error = await _start(inner, task)
            await send(_answer("startup", error))
            if error is not None:
                return
            await receive()
            task.ask_to_stop()
            error = await inner.tell("shutdown")
            await task.stopped()
            await send(_answer("shutdown", error))
        finally:
            # Also reached if the server cancels this task.
            task.ask_to_stop()
            await inner.close()


async def _start(inner: "_Inner", task: "_Task") -> str | None:
    """Start the application, then the cleanup; return the error, or None."""
    error = await inner.tell("startup")
    if error is not None:
        return error
    try:
        task.start()
    except Exception as failure:  # noqa: BLE001
        # An exception would tell the server that the application does not support lifespan.
        await inner.tell("shutdown")
        return f"The token cleanup can't be started ({type(failure).__name__}: {failure})"
    return None


def _answer(event: str, error: str | None) -> dict[str, str]:
    if error is None:
        return {"type": f"lifespan.{event}.complete"}
    return {"type": f"lifespan.{event}.failed", "message": error}


class _Inner:
    """The wrapped application's side of the protocol, if it has one.

    A FastAPI or Starlette application that Django is mounted in opens its pools there. Not passing
    the events on would break it without a word.
    """

    def __init__(self, application: Application, scope: Scope) -> None:
        self._application, self._scope = application, scope
        self._told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Future[None] | None = None

    async def tell(self, event: str) -> str | None:
        """Pass "startup" or "shutdown" on; return the application's error, or None.

        An application that raises or returns instead of answering "startup" does not support the
        protocol, and neither does Django: that is no error.
        """
        if self._task is None:
            self._task = asyncio.ensure_future(
                self._application(self._scope, self._told.get, self._send)
            )
        elif self._task.done():
            return None
        self._answer = asyncio.get_running_loop().create_future()
        self._told.put_nowait({"type": f"lifespan.{event}"})
        either: set[asyncio.Future[Any]] = {self._task, self._answer}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            failed = self._answer.result()["type"].endswith(".failed")
            return str(self._answer.result().get("message", "")) if failed else None
        error = self._task.exception()
        if event == "shutdown" and error is not None:
            return f"{type(error).__name__}: {error}"
        logger.debug("the application does not support the lifespan protocol", exc_info=error)
        return None

    async def _send(self, message: Mapping[str, Any]) -> None:
        if not self._answer.done():
            self._answer.set_result(message)

    async def close(self) -> None:
        """End the application's task; it has answered, so its exceptions no longer matter."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class _Task:
    """The thread that cleans up."""

    def __init__(self, interval: timedelta | None, patience: float) -> None:
        self._interval, self._patience = interval, patience
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; raise ValueError if TOKENS_CLEANUP_INTERVAL is needed but invalid."""
        if self._interval is None:
            _check_setting()
        from .. import cleanup
        from .periodic import Periodic

        logger.info(
            "Starting background task for token cleanup...", extra={"event": "task_starting"}
        )
        clean_up = partial(cleanup.run, trigger="lifespan")
        periodic = Periodic(clean_up, stop=self._stop, interval=self._interval)
        # A daemon: a hanging batch must not keep the process from exiting.
        self._thread = threading.Thread(target=periodic.run, name="token-cleanup", daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Tell the current run to end after its batch."""
        self._stop.set()

    async def stopped(self) -> None:
        """Wait until the thread has ended, for a limited time."""
        if self._thread is None:
            return
        until = monotonic() + self._patience
        while self._thread.is_alive() and monotonic() < until:
            await asyncio.sleep(0.05)
        if self._thread.is_alive():
            logger.warning(
                "Token cleanup is still running %s s after it was asked to stop: left behind",
                self._patience,
                extra={"event": "task_left_behind"},
            )


def _check_setting() -> None:
    value: object = conf.TOKENS_CLEANUP_INTERVAL
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ValueError(f"TOKENS_CLEANUP_INTERVAL must be a timedelta above zero, not {value!r}.")
