"""What support staff do in the admin, in a real Chromium under a strict policy."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.admin.models import LogEntry

from tokens.models import BlacklistEntry, CleanupRun, TokenSession

from .chromium import NARROW, WIDE, Person
from .world import World

LOOKUP, USERS = "/admin/tokens/lookup/", "/admin/auth/user/"


def status(live_server: Any, access: str) -> int:
    """Return what the API answers a client with this token."""
    headers = {"Authorization": f"Bearer {access}"}
    request = urllib.request.Request(f"{live_server.url}/api/me/", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def look_up(person: Person, term: str) -> str:
    person.go(LOOKUP)
    person.page.fill("#id_q", term)
    person.page.click("text=Look up >> nth=-1")
    answer = person.page.inner_text("section[aria-live]")
    assert term not in person.page.url
    return " ".join(answer.split())


def test_a_revoked_token_is_found_by_pasting_it_by_its_id_and_by_the_persons_address(
    boss: Person, world: World
) -> None:
    for token in (world.revoked, world.revoked.access_token):
        answer = look_up(boss, str(token))
        assert "Refused since" in answer
        assert "the user logged out" in answer
        assert world.ada.username in answer
    assert "Refused since" in look_up(boss, world.revoked["sid"])
    assert "No session may go on" in look_up(boss, world.ada.email.upper())
    answer = look_up(boss, str(world.phone.access_token))
    assert "Accepted until" in answer
    assert "Chrome on Android" in answer


@pytest.mark.parametrize("path", ["/admin/tokens/blacklistentry/", "/admin/tokens/tokensession/"])
def test_a_token_in_the_search_box_is_looked_up_and_never_in_an_address(
    boss: Person, world: World, path: str
) -> None:
    boss.go(path)
    seen: list[str] = []
    boss.page.on("request", lambda request: seen.append(request.url))
    boss.page.fill("#searchbar", str(world.revoked.access_token))
    boss.page.press("#searchbar", "Enter")
    boss.page.wait_for_selector("section[aria-live]")
    assert "Refused since" in boss.reads()
    assert not [url for url in seen if "eyJ" in url]


def test_a_session_is_ended_from_the_persons_page_and_its_client_gets_401(
    boss: Person, world: World, live_server: Any
) -> None:
    access = str(world.phone.access_token), str(world.laptop.access_token)
    assert [status(live_server, one) for one in access] == [200, 200]
    boss.go(f"{USERS}{world.grace.pk}/change/")
    row = boss.page.locator(".tokens-person tr", has_text="Chrome on Android")
    row.get_by_text("End…").click()
    assert "Chrome on Android, 198.51.100.23, logged in just now" in boss.reads()
    boss.page.click("text=Yes, end them")
    boss.page.wait_for_selector(".tokens-person")
    assert "Ended 1 session of 1 user." in boss.reads()
    assert "1 live session" in boss.page.inner_text(".tokens-person")
    assert [status(live_server, one) for one in access] == [401, 200]
    boss.page.click("text=End all sessions…")
    boss.page.click("text=Yes, log them out everywhere")
    boss.page.wait_for_selector(".messagelist")
    assert [status(live_server, one) for one in access] == [401, 401]


def test_unrevoking_asks_why_and_stands_in_the_persons_history(
    boss: Person, world: World, live_server: Any
) -> None:
    access = str(world.revoked.access_token)
    assert status(live_server, access) == 401
    boss.go(f"/admin/tokens/blacklistentry/{world.entry.pk}/change/")
    boss.page.click("text=Un-revoke…")
    assert world.ada.username in boss.page.inner_text("#content")
    boss.page.click("text=Yes, un-revoke")  # the browser wants the reason
    assert status(live_server, access) == 401
    boss.page.fill("#id_why", "the wrong person")
    boss.page.click("text=Yes, un-revoke")
    boss.page.wait_for_selector(".messagelist")
    assert "Un-revoked a session" in boss.reads()
    assert status(live_server, access) == 200
    boss.go(f"{USERS}{world.ada.pk}/history/")
    assert "the wrong person" in boss.reads()


def test_the_cleanup_is_tried_out_and_run(boss: Person) -> None:
    boss.go("/admin/tokens/cleanuprun/")
    boss.page.click("text=What would it remove?")
    boss.page.wait_for_selector(".messagelist")
    assert "A run would remove" in boss.reads()
    before = BlacklistEntry.objects.count()
    boss.page.click("text=Run the cleanup now")
    boss.page.wait_for_selector("text=/Removed \\d+ entries/")
    assert BlacklistEntry.objects.count() < before
    run = CleanupRun.objects.order_by("-pk").first()
    assert run is not None
    assert (run.trigger, run.outcome) == ("admin", "succeeded")
    assert LogEntry.objects.filter(object_id=str(run.pk)).exists()


def test_rows_are_ticked_in_a_stretch(boss: Person) -> None:
    """Django's script does this, and needs its counter."""
    boss.go("/admin/tokens/blacklistentry/")
    boxes = boss.page.locator("input.action-select")
    boxes.nth(0).click()
    boxes.nth(5).click(modifiers=["Shift"])
    assert boss.page.locator("input.action-select:checked").count() == 6
    assert "6 of" in boss.page.inner_text(".action-counter")


def pages(world: World) -> list[str]:
    session = TokenSession.objects.get(sid=world.phone["sid"])
    return [
        "/admin/",
        "/admin/tokens/",
        LOOKUP,
        "/admin/tokens/blacklistentry/",
        f"/admin/tokens/blacklistentry/{world.entry.pk}/change/",
        f"/admin/tokens/blacklistentry/{world.entry.pk}/delete/",
        "/admin/tokens/tokensession/",
        f"/admin/tokens/tokensession/{session.pk}/change/",
        f"/admin/tokens/tokensession/{session.pk}/end/",
        f"/admin/tokens/tokensession/of/{world.grace.pk}/end/",
        "/admin/tokens/cleanuprun/",
        f"/admin/tokens/cleanuprun/{world.run.pk}/change/",
        f"{USERS}{world.grace.pk}/change/",
    ]


# Of Django's own templates: its links in breadcrumbs, the search box with a help text, and, on the
# user's page, what Django's users list has as well.
OF_DJANGO = {"link-in-text-block", "label-title-only", "label", "aria-prohibited-attr"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "375"])
def test_no_page_has_a_serious_fault(
    sit_down: Callable[..., Person], world: World, size: tuple[int, int], dark: bool
) -> None:
    """Nor one in the console, nor against the policy: ``sit_down`` sees to that."""
    boss, axe = sit_down(size=size, dark=dark), Axe()
    for path in pages(world):
        boss.go(path)
        assert boss.width_of_body() <= size[0], path
        with boss.muted():  # axe adds styles of its own to the page
            found = axe.run(boss.page).response["violations"]
        serious = {
            fault["id"]: [node["html"] for node in fault["nodes"]]
            for fault in found
            if fault["impact"] in ("serious", "critical") and fault["id"] not in OF_DJANGO
        }
        assert not serious, (path, json.dumps(serious, indent=1))


def test_all_columns_fit_beside_the_filters(boss: Person) -> None:
    for name in ("blacklistentry", "tokensession", "cleanuprun"):
        boss.go(f"/admin/tokens/{name}/")
        results = boss.page.locator(".results")
        assert results.evaluate("box => box.scrollWidth - box.clientWidth") == 0, name


def test_the_first_two_columns_say_who_and_why_on_a_phone(sit_down: Callable[..., Person]) -> None:
    boss = sit_down(size=NARROW)
    boss.go("/admin/tokens/blacklistentry/")
    first = boss.page.locator("#result_list tbody tr").first
    for column in (".field-user_link", ".field-why"):
        box = first.locator(column).bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= NARROW[0]
    assert not first.locator(".field-what").is_visible()
