"""Pictures for the docs, of the pages as they are: ``make screenshots``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .chromium import NARROW, WIDE, Person
from .test_admin import LOOKUP, USERS
from .world import World

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"

Show = Callable[[Person, World], Any]


def look_up(person: Person, world: World) -> None:
    person.go(LOOKUP)
    person.page.fill("#id_q", str(world.revoked.access_token))
    person.page.press("text=Look up >> nth=-1", "Enter")
    person.page.wait_for_selector("section[aria-live]")


PAGES: dict[str, Show] = {
    "front": lambda person, _: person.go("/admin/tokens/"),
    "entries": lambda person, _: person.go("/admin/tokens/blacklistentry/"),
    "user": lambda person, world: person.go(f"{USERS}{world.grace.pk}/change/"),
    "lookup": look_up,
}


@pytest.mark.parametrize(
    ("suffix", "size", "dark"),
    [
        ("", WIDE, False),
        ("-dark", WIDE, True),
        ("-375", NARROW, False),
        ("-375-dark", NARROW, True),
    ],
    ids=["light", "dark", "375", "375, dark"],
)
def test_pictures(
    sit_down: Callable[..., Person], world: World, suffix: str, size: tuple[int, int], dark: bool
) -> None:
    boss = sit_down(size=size, dark=dark)
    for name, show in PAGES.items():
        show(boss, world)
        path = IMAGES / f"admin-{name}{suffix}.png"
        boss.page.screenshot(path=path, full_page=name == "front")  # its plots are at the end
