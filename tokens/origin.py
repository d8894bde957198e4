"""Who uses a token, or revokes it, and from where: what a session and an entry keep of it."""

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .conf import conf

# The characters that are kept.
LONGEST = 255
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from, as far as a session keeps it."""

    ip_address: str | None = None
    user_agent: str = ""
    # What the client calls its device; None if it does not say.
    device_name: str | None = None


# "[2001:db8::1]:443" and "203.0.113.9:51234". Without brackets, a port of IPv6 can't be told apart.
_with_port = re.compile(r"\[([^\[\]]*)\](?::\d*)?|([^:]*):\d*").fullmatch


# Clients come again.
@lru_cache(maxsize=1024)
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
    """Let sessions that are started or refreshed in this context remember ``client``.

    What ends a session in this context comes from ``client``, as its entry and signals say.
    """
    reset = _client.set(client)
    try:
        yield
    finally:
        _client.reset(reset)


def metadata() -> dict[str, Any]:
    """Return the columns that say where a session is used; none if the project keeps none.

    A client that does not name its device keeps the name that it gave before.
    """
    if not conf.TOKENS_SESSION_METADATA:
        return {}
    client = _client.get()
    columns = {"ip_address": client.ip_address, "user_agent": client.user_agent[:LONGEST]}
    if client.device_name is not None:
        columns["device_name"] = client.device_name[:LONGEST_NAME]
    return columns


@dataclass(frozen=True, slots=True)
class Act:
    """Who does something to tokens, and why: ``by`` is a user's primary key, or a text."""

    by: Any = ""
    note: str = ""


_NOBODY_ELSE = Act()
_act: ContextVar[Act] = ContextVar("act", default=_NOBODY_ELSE)


@contextmanager
def acting(by: Any = "", *, note: str = "") -> Iterator[None]:
    """Let entries, signals and log records of this context say who revokes, and why.

    ``by`` is a user, or a text that names whoever acts: a job, or a person of another system.
    Leave it out if the holder of the tokens acts. ``note`` is for people, such as the number of a
    ticket. Both keep 255 characters.
    """
    reset = _act.set(Act(getattr(by, "pk", by), note))
    try:
        yield
    finally:
        _act.reset(reset)


@dataclass(frozen=True, slots=True)
class Doing:
    """What is known of an act in progress: who acts, why, and from where."""

    by: Any
    note: str
    by_ip_address: str | None
    by_user_agent: str

    def columns(self) -> dict[str, Any]:
        """Return what an entry keeps of it."""
        return {
            "by": str(self.by)[:LONGEST],
            "note": self.note[:LONGEST],
            "by_ip_address": self.by_ip_address,
            "by_user_agent": self.by_user_agent,
        }


def doing() -> Doing:
    """Return who acts in this context; from where, only if the project keeps such facts."""
    act, client = _act.get(), _client.get() if conf.TOKENS_SESSION_METADATA else _NOBODY
    return Doing(act.by, act.note, client.ip_address, client.user_agent[:LONGEST])
