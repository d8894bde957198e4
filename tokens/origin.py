"""Where a request comes from, as far as a session keeps it."""

import ipaddress
import re
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


# "[2001:db8::1]:443" and "203.0.113.9:51234". Without brackets, a port of IPv6 can't be told apart.
_with_port = re.compile(r"\[([^\[\]]*)\](?::\d*)?|([^:]*):\d*").fullmatch


def ip_address(text: str) -> str | None:
    """Return the IP address in ``text``, as the database stores it; None if there is none.

    A port and a zone are left out: they change with each connection or mean something to one host
    only. An IPv4 address in the notation of IPv6 becomes an IPv4 address. Quotes and blanks around
    it do not matter.
    """
    text = text.strip().strip('"').strip()
    if found := _with_port(text):
        text = found[1] or found[2] or ""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or address)
    return str(address) if text == str(address) else None  # no zone: IPv4 has none


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
