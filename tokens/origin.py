"""Where a request comes from, as far as a session keeps it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from .conf import conf


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, as far as a session keeps it."""

    ip_address: str | None = None
    user_agent: str = ""


_NOBODY = Client()
_client: ContextVar[Client] = ContextVar("client", default=_NOBODY)


@contextmanager
def used_by(client: Client) -> Iterator[None]:
    """Let sessions that are started or refreshed in this context remember ``client``."""
    reset = _client.set(client)
    try:
        yield
    finally:
        _client.reset(reset)


def metadata() -> dict[str, Any]:
    """Return the columns that say where a session is used; none if the project keeps none."""
    if not conf.TOKENS_SESSION_METADATA:
        return {}
    client = _client.get()
    return {"ip_address": client.ip_address, "user_agent": client.user_agent[:255]}
