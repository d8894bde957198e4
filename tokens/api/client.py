"""Where a request comes from."""

from typing import Any

from rest_framework.request import Request
from rest_framework.settings import api_settings

from ..origin import Client, ip_address


def client_of(request: Request | None) -> Client:
    """Return the address and user agent of a request; an empty Client if there is none.

    A stand-in that has no META, as GraphQL and tests give to a serializer, is none.

    The address is the peer's, unless DRF's NUM_PROXIES says how many of your proxies append to
    X-Forwarded-For. Then it is the entry added by the outermost of these, which a client can't
    forge.
    """
    meta = getattr(request, "META", None)
    if not isinstance(meta, dict):
        return Client()
    agent = "".join(filter(str.isprintable, meta.get("HTTP_USER_AGENT", "")))
    return Client(ip_address=_address(meta), user_agent=agent)


def _address(meta: dict[str, Any]) -> str | None:
    address = meta.get("REMOTE_ADDR") or ""  # a Unix socket has no address
    forwarded = meta.get("HTTP_X_FORWARDED_FOR", "").split(",")
    proxies = api_settings.NUM_PROXIES
    if proxies and forwarded != [""]:
        address = forwarded[-min(proxies, len(forwarded))]
    return ip_address(address)
