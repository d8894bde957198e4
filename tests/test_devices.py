"""Devices as people call them, in the API, the admin, and without the package for it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from tokens import sessions
from tokens.models import TokenSession
from tokens.sessions import devices

from .conftest import bearer

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
KNOWN = {
    f"{WINDOWS} {WEBKIT} Chrome/156.0.0.0 Safari/537.36": "Chrome on Windows",
    f"{WINDOWS} {WEBKIT} Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0": "Edge on Windows",
    "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0": "Firefox on Windows",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0": "Firefox on Linux",
    f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/156.0.0.0 Mobile Safari/537.36": (
        "Chrome on Android"
    ),
    f"{IPHONE} (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1": "Safari on iOS",
    f"{IPHONE} (KHTML, like Gecko) CriOS/156.0 Mobile/15E148 Safari/604.1": "Chrome on iOS",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Safari/605.1.15": "Safari on macOS",
    "curl/8.5.0": "curl",
    "okhttp/4.12.0": "okhttp (app)",
    "Dart/3.5 (dart:io)": "Dart (app)",
    "python-httpx/0.28.1": "python-httpx",
    "ShopApp/2.1 (Android 14; Pixel 8)": "ShopApp on Android",
    "ShopApp/4.2 CFNetwork/1494.0.7 Darwin/23.4.0": "ShopApp on iOS",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UP1A)": "an app on Android",
}
UNKNOWN = ["", "node", "<script>alert(1)</script>", "\x00", "/" * 255, "Mozilla/5.0", "🙂/1"]


@pytest.mark.any_database
@pytest.mark.parametrize(("text", "name"), KNOWN.items(), ids=KNOWN.values())
def test_a_known_device_has_a_name(text: str, name: str) -> None:
    assert sessions.device(text) == name


@pytest.mark.any_database
@pytest.mark.parametrize("text", UNKNOWN, ids=ascii)
def test_an_unknown_device_is_called_what_it_calls_itself(text: str) -> None:
    assert sessions.device(text) == text


@pytest.mark.any_database
@pytest.mark.parametrize("text", [*KNOWN, *UNKNOWN], ids=ascii)
def test_without_the_package_every_device_is_called_what_it_calls_itself(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(devices, "_parser", lambda: None)
    assert sessions.device(text) == text


@pytest.mark.django_db
def test_the_list_of_sessions_names_the_device(
    user: User, log_in: Callable[..., Any], settings: Any
) -> None:
    login = log_in(user)
    text, name = next(iter(KNOWN.items()))
    TokenSession.objects.update(user_agent=text)
    (listed,) = login.api.get("/api/sessions/", **bearer(login.access)).json()["results"]
    assert (listed["device"], listed["user_agent"]) == (name, text)
    settings.TOKENS_SESSION_METADATA = False
    (listed,) = login.api.get("/api/sessions/", **bearer(login.access)).json()["results"]
    assert listed.keys().isdisjoint({"device", "user_agent", "ip_address"})
