import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from .chromium import WIDE, Person, chromium
from .world import World, people

# Playwright runs a loop of asyncio in this thread, in which Django refuses to use the database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def world(transactional_db: None) -> World:
    return people()


@pytest.fixture
def sit_down(browser: Browser, live_server: Any, world: World) -> Iterator[Callable[..., Person]]:
    """Log somebody in, in a window of this size. At the end, no console may have complained."""
    there: list[Person] = []

    def log_in(name: str = "boss", *, size: tuple[int, int] = WIDE, dark: bool = False) -> Person:
        there.append(Person(browser, live_server.url, name, size=size, dark=dark))
        return there[-1]

    yield log_in
    for person in there:
        person.leave()
    assert [one for person in there for one in person.complaints] == []


@pytest.fixture
def boss(sit_down: Callable[..., Person]) -> Person:
    return sit_down()
