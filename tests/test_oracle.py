"""Everything that people do to tokens, in any order, beside an oracle that knows what must follow.

ORACLE_RUNS=10000 for the full treatment; .ci/run has a number of its own. The oracle is in
``oracle``, the state machine in ``oracle_machine`` and ``oracle_rules``. Two sequences that it
found are below, in words.
"""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from . import oracle_app as app
from .conftest import Login
from .forge import signed
from .oracle import HOUR, MINUTE, SECOND, World
from .oracle_rules import EveryRule, biased

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quiet")]

RUNS = int(os.environ.get("ORACLE_RUNS", "24" if connection.vendor == "sqlite" else "8"))
STEPS = 25


@pytest.fixture
def quiet() -> Iterator[None]:
    """Log nothing: thousands of refusals are no news."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def run(machine: type[EveryRule], runs: int, **options: Any) -> None:
    changed = hypothesis_settings(
        max_examples=runs,
        stateful_step_count=STEPS,
        suppress_health_check=list(HealthCheck),
        database=None,
        **options,
    )
    run_state_machine_as_test(machine, settings=changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rotate": True},
        {"rotate": False, "access": HOUR, "refresh": MINUTE},
        {"rotate": False, "access": HOUR, "refresh": 5 * SECOND, "margin": 0},
    ],
    ids=["any settings", "rotation", "short refresh tokens", "shorter refresh tokens"],
)
def test_the_app_and_the_oracle_agree(settings: dict[str, Any]) -> None:
    run(biased(**settings), RUNS // 4)


WAYS: dict[str, Callable[[AbstractUser, str], object]] = {
    "logout/all/": lambda _user, access: app.post("logout/all/", access=access),
    "revoke_tokens": lambda user, _access: app.revoke(user=user.username),
    "password": lambda user, _access: change_password(user),
}


def change_password(user: AbstractUser) -> None:
    user.set_password("another")
    user.save()


@pytest.mark.parametrize("way", WAYS)
def test_an_access_token_that_outlives_its_refresh_token_is_reached_after_a_cleanup(
    way: str, make_user: Any
) -> None:
    """Once the row of a session went with its refresh token, nothing led to this token."""
    with app.in_world(World(rotate=False, refresh=MINUTE, access=HOUR)) as clock:
        user = make_user()
        access = Login(user).access
        for _ in range(9):
            clock.wait(6 * MINUTE)
            app.clean_up()
        assert app.http_request(access) == 200
        WAYS[way](user, access)
        assert app.http_request(access) == 401
        clock.wait(5 * MINUTE)
        app.clean_up()
        assert app.http_request(access) == 401


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "sid",
    [
        pytest.param("store-5", marks=pytest.mark.any_database),
        # As an OpenID provider's.
        pytest.param("6f1c1f9e-1f3b-4a52-9d60-0a0f6a7c0001", marks=pytest.mark.any_database),
        "01890a5d-ac96-774b-bcce-b302099a8057",  # a UUIDv7, as ours are
    ],
)
def test_a_token_with_the_sid_of_another_issuer_counts_as_one_without(
    sid: str, way: str, make_user: Any
) -> None:
    """A UUIDv7 looked like ours, so that neither the user's entry nor its own kept it refused."""
    with app.in_world(World(access=5 * MINUTE)) as clock:
        user = make_user()
        begin = int(app.BEGIN.timestamp())
        short, middle, long = (
            signed(user_id=str(user.pk), sid=sid, jti=name, iat=begin, exp=begin + lifetime)
            for name, lifetime in (("short", 60), ("middle", 3600), ("long", 7200))
        )
        app.post("logout/", access=short)
        statuses = [app.http_request(token) for token in (short, middle, long)]
        assert statuses == [401, 200, 200]  # its logout ends nobody else's token
        WAYS[way](user, middle)
        for _ in range(3):
            assert [app.http_request(token) for token in (short, middle, long)] == [401] * 3
            clock.wait(30 * MINUTE)
            app.clean_up()
