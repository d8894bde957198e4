"""Our pages keep their warnings and working buttons under a theme of the admin."""

from typing import Any

from tokens.models import BlacklistEntry, TokenSession

from .chromium import Person
from .test_admin import pages, status
from .world import World


def test_every_page_opens(boss: Person, world: World) -> None:
    for path in pages(world):
        boss.go(path)
    boss.go("/admin/tokens/")
    assert "live sessions" in boss.reads()
    boss.go("/admin/tokens/cleanuprun/")
    assert "Last success" in boss.reads()


def test_the_question_before_unrevoking_warns_and_works(
    boss: Person, world: World, live_server: Any
) -> None:
    boss.go(f"/admin/tokens/blacklistentry/{world.entry.pk}/change/")
    boss.page.locator("a", has_text="Un-revoke…").first.click()
    boss.page.wait_for_selector("#id_why")
    assert "Access tokens of this session will be accepted again" in boss.reads()
    assert "related items" not in boss.reads()
    boss.page.fill("#id_why", "the wrong person")
    boss.page.locator("input[type=submit][value^='Yes']").click()
    boss.page.wait_for_url("**/blacklistentry/")
    assert not BlacklistEntry.objects.filter(pk=world.entry.pk).exists()
    assert status(live_server, str(world.revoked.access_token)) == 200


def test_a_sessions_page_ends_it_after_a_question(
    boss: Person, world: World, live_server: Any
) -> None:
    boss.go(f"/admin/tokens/tokensession/{world.phone['sid']}/change/")
    link = boss.page.locator("a", has_text="End this session…").first
    box = link.bounding_box()
    assert box is not None
    assert box["width"] > 60  # the words are there to be read
    link.click()
    boss.page.wait_for_selector("text=You are about to end")
    assert "Chrome on Android" in boss.reads()
    boss.page.locator("input[type=submit][value^='Yes']").click()
    boss.page.wait_for_url("**/tokensession/?user=*")
    assert not TokenSession.objects.filter(sid=world.phone["sid"]).exists()
    assert status(live_server, str(world.phone.access_token)) == 401


def test_a_token_is_looked_up(boss: Person, world: World) -> None:
    boss.go("/admin/tokens/lookup/")
    boss.page.fill("#id_q", str(world.revoked.access_token))
    boss.page.locator("input[type=submit][value='Look up']").click()
    boss.page.wait_for_selector("text=Refused since")


def test_the_cleanup_runs(boss: Person) -> None:
    boss.go("/admin/tokens/cleanuprun/")
    boss.page.locator("input[name=run]").click()
    boss.page.wait_for_selector("text=/Removed \\d+ entries/")
