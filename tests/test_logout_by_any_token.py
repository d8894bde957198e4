"""Logging out by whatever is good: the header counts if the body is of no use."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser

from tokens import clock
from tokens.jwt import AccessToken

from .conftest import Login, bearer
from .forge import sign
from .including import ODD_BODIES, shape, useless
from .including import ada as ada
from .including import no_rates as no_rates

pytestmark = pytest.mark.django_db(transaction=True)


TEXT = ["number", "fraction", "undefined", *list(useless())[-8:]]


@pytest.mark.any_database
@pytest.mark.parametrize("name", useless())
def test_a_good_header_counts_if_the_body_is_of_no_use(ada: Login, name: str) -> None:
    answer = ada.api.post(
        "/api/logout/",
        json.dumps({"refresh": useless()[name]}),
        content_type="application/json",
        **bearer(ada.access),
    )
    assert answer.status_code == 204
    assert ada.me().status_code == ada.refresh().status_code == 401


@pytest.mark.any_database
@pytest.mark.slow
@pytest.mark.parametrize("name", useless())
@pytest.mark.parametrize("header", ["none", "other scheme", "forged"])
def test_without_a_good_header_a_useless_token_is_refused(
    ada: Login, name: str, header: str
) -> None:
    headers: dict[str, Any] = {
        "none": {},
        "other scheme": {"HTTP_AUTHORIZATION": "Basic YTpi"},
        "forged": bearer(useless()["forged"]),
    }[header]
    body = json.dumps({"refresh": useless()[name]})
    answer = ada.api.post("/api/logout/", body, content_type="application/json", **headers)
    text = name in TEXT or header == "forged"
    assert answer.status_code == (401 if text else 400)
    assert shape(answer) == {"detail", "code"}
    assert ada.me().status_code == 200


@pytest.mark.any_database
@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_good_header_counts_whatever_the_body(ada: Login, body: dict[str, Any]) -> None:
    answer = ada.api.post("/api/logout/", **body)
    assert answer.status_code in (400, 415)
    assert shape(answer) == {"detail", "code"}
    answer = ada.api.post("/api/logout/", **body, **bearer(useless()["forged"]))
    assert answer.status_code == 401
    assert ada.me().status_code == 200
    assert ada.api.post("/api/logout/", **body, **bearer(ada.access)).status_code == 204
    assert ada.me().status_code == ada.refresh().status_code == 401


def test_a_usable_token_in_the_body_wins(ada: Login, user: AbstractUser) -> None:
    other = Login(user)
    for header in (other.access, useless()["forged"]):
        answer = ada.api.post("/api/logout/", {"refresh": ada.refresh_token}, **bearer(header))
        assert answer.status_code == 204
    assert ada.me().status_code == 401
    assert other.me().status_code == 200


def test_an_expired_header_counts_too(ada: Login) -> None:
    payload = AccessToken(ada.access).payload | {"exp": clock.to_epoch(clock.now()) - 9999}
    answer = ada.api.post("/api/logout/", {"refresh": "x"}, **bearer(sign(payload)))
    assert answer.status_code == 204
    assert ada.refresh().status_code == 401


def test_the_database_is_asked_three_times_at_most_to_log_out_by_the_header(
    ada: Login, statements: Callable[[], Any]
) -> None:
    with statements() as ran:
        answer = ada.api.post("/api/logout/", {"refresh": "x"}, **bearer(ada.access))
    assert (answer.status_code, len(ran)) == (204, 3), ran
