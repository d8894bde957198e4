"""Addresses of clients, in whatever notation proxies give them."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AbstractUser
from django.test import Client as Browser
from rest_framework.settings import api_settings as rest_framework
from rest_framework.test import APIClient

from tokens.jwt import RefreshToken
from tokens.models import TokenSession
from tokens.origin import Client, ip_address, used_by

from .conftest import PASSWORD
from .including import no_rates as no_rates

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESSES = {
    "203.0.113.9": "203.0.113.9",
    "203.0.113.9:51234": "203.0.113.9",
    "203.0.113.9:": "203.0.113.9",
    " \t203.0.113.9 ": "203.0.113.9",
    '"203.0.113.9:51234"': "203.0.113.9",
    "2001:DB8:0:0::1": "2001:db8::1",
    "[2001:db8::1]": "2001:db8::1",
    "[2001:db8::1]:443": "2001:db8::1",
    ' "[2001:db8::1]:443" ': "2001:db8::1",
    '" 2001:db8::1 "': "2001:db8::1",
    "2001:db8::1:443": "2001:db8::1:443",  # a port can't be told apart
    "fe80::1%eth0": "fe80::1",
    "[fe80::1%25eth0]:80": "fe80::1",
    "fe80::1%" + "a" * 300: "fe80::1",
    "[fe80::1%" + "é\0" * 300 + "]:1": "fe80::1",
    "fe80::1%": "fe80::1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "::FFFF:C000:0201": "192.0.2.1",
    "[::ffff:192.0.2.1]:8080": "192.0.2.1",
    "::ffff:192.0.2.1%eth0": "192.0.2.1",
    "1111:2222:3333:4444:5555:6666:7777:8888": "1111:2222:3333:4444:5555:6666:7777:8888",
    "::": "::",
    "": None,
    "unknown": None,
    "_hidden": None,
    ":443": None,
    "[]": None,
    "[]:443": None,
    "[203.0.113.9": None,
    "203.0.113.9:http": None,
    "203.0.113.9%eth0": None,
    "203.0.113.09": None,
    "203.0.113.256": None,
    "3405803785": None,
    "[[2001:db8::1]]:443": None,
    "2001:db8::1]:443": None,
    "for=203.0.113.9": None,
    "203.0.113.9\0": None,
    "٢٠٣.0.113.9": None,
    "é" * 5000: None,
    "%": None,
    '"': None,
}


@pytest.mark.any_database
@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=lambda text: str(text)[:20])
def test_an_address_is_read_without_port_and_zone(text: str, address: str | None) -> None:
    assert ip_address(text) == address


@pytest.mark.slow
@pytest.mark.any_database
@pytest.mark.parametrize("how", ["peer", "proxy"])
def test_no_address_refuses_a_login(
    user: AbstractUser, api: APIClient, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(rest_framework, "NUM_PROXIES", 1 if how == "proxy" else 0)
    for text, address in ADDRESSES.items():
        header = {"HTTP_X_FORWARDED_FOR": f"198.51.100.1, {text}"}
        answer = api.post(
            "/api/token/",
            {"username": "ada", "password": PASSWORD},
            **(header if how == "proxy" else {"REMOTE_ADDR": text}),
        )
        assert answer.status_code == 200, text
        session = TokenSession.objects.latest("sid")
        assert session.ip_address == address, text
        refreshed = api.post("/api/token/refresh/", {"refresh": answer.json()["refresh"]})
        assert refreshed.status_code == 200
        session.delete()


def test_an_address_is_stored_as_it_was_read(user: AbstractUser) -> None:
    for address in {*ADDRESSES.values()}:
        with used_by(Client(ip_address=address)):
            RefreshToken.for_user(user)
        assert TokenSession.objects.latest("sid").ip_address == address


def test_a_peer_without_an_address_logs_in(user: AbstractUser, api: APIClient) -> None:
    form = {"username": "ada", "password": PASSWORD}
    assert api.post("/api/token/", form, REMOTE_ADDR=None).status_code == 200
    assert TokenSession.objects.get().ip_address is None


@pytest.mark.parametrize(
    "term", ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1:443", "[::ffff:192.0.2.1]:1", " 192.0.2.1"]
)
def test_the_admin_finds_an_address_in_any_notation(
    user: AbstractUser, staff: Callable[..., Browser], term: str
) -> None:
    APIClient().post(
        "/api/token/",
        {"username": "ada", "password": PASSWORD},
        REMOTE_ADDR="::ffff:192.0.2.1",
    )
    answer = staff(is_superuser=True).get("/admin/tokens/tokensession/", {"q": term})
    assert [row.ip_address for row in answer.context["cl"].result_list] == ["192.0.2.1"]
