"""Where a request comes from."""

from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.settings import api_settings

from ..origin import Client, ip_address


def client_of(request: Request | HttpRequest | None, *, device_name: str | None = None) -> Client:
    """Return the address and user agent of a request; an empty Client if there is none.

    A stand-in that has no META, as GraphQL and tests give to a serializer, is none.

    The address is the peer's, unless DRF's NUM_PROXIES says how many of your proxies append to
    X-Forwarded-For. Then it is the entry added by the outermost of these, which a client can't
    forge. ``device_name`` is what the client calls its device, if it does.
    """
    meta = getattr(request, "META", None)
    if not isinstance(meta, dict):
        return Client()
    agent = _printable(meta.get("HTTP_USER_AGENT", ""))
    if device_name is not None:
        device_name = _printable(device_name).strip()
    return Client(ip_address=_address(meta), user_agent=agent, device_name=device_name)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(filter(str.isprintable, text))


def _address(meta: dict[str, Any]) -> str | None:
    address = meta.get("REMOTE_ADDR") or ""  # a Unix socket has no address
    forwarded = meta.get("HTTP_X_FORWARDED_FOR", "").split(",")
    proxies = api_settings.NUM_PROXIES
    if proxies and forwarded != [""]:
        address = forwarded[-min(proxies, len(forwarded))]
    return ip_address(address)
