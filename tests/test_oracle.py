"""Everything that people do to tokens, in any order, beside an oracle that knows what must follow."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from .oracle_rules import EveryRule

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


RUNS = int(os.environ.get("ORACLE_RUNS", "200"))
STEPS = 25


def run(machine: Any, runs: int, **options: Any) -> None:
    changed = hypothesis_settings(
        max_examples=runs,
        stateful_step_count=STEPS,
        suppress_health_check=list(HealthCheck),
        database=None,
        **options,
    )
    run_state_machine_as_test(machine, settings=changed)


def test_the_app_and_the_oracle_agree() -> None:
    run(EveryRule, RUNS)
