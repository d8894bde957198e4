"""The app's front page in the admin, the warning on the admin's own, and the buttons that run."""

import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AbstractUser
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse

from tokens import cleanup, clock
from tokens.admin import front, running, waiting
from tokens.conf import simplejwt
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, CleanupRun

from .test_admin import make_entry, make_run, make_session, page

FRONT, INDEX = "/admin/tokens/", "/admin/"
EVERYTHING = ("view_tokensession", "view_blacklistentry", "view_cleanuprun", "view_user")
OVERDUE, FAILED = "The cleanup of tokens is overdue.", "The last cleanup of tokens failed."

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(staff: Callable[..., Client]) -> Client:
    return staff(*EVERYTHING)


def shown(client: Client) -> str:
    text = client.get(FRONT).text
    return str(text.split('<div class="tokens-front">')[1]) if "tokens-front" in text else ""


def figures(text: str) -> dict[str, str]:
    found = re.findall(r"<dt>([^<]+)</dt><dd>(?:<a[^>]+>)?([^<]+)<", text.split("</dl>")[0])
    return dict(found)


def test_the_front_page_has_four_figures_with_links(viewer: Client, user: AbstractUser) -> None:
    for _ in range(2):
        make_session(user)
    make_session(user, expires_at=clock.now() - timedelta(hours=2))
    make_entry()
    make_entry(created_at=clock.now() - timedelta(days=2))
    make_entry(expires_at=clock.now() - timedelta(days=1))
    text = shown(viewer)
    assert figures(text) == {
        "live sessions": "2",
        "refused now": "2",
        "revoked in the last 24 hours": "2",
        "rows wait for the cleanup": "2",
    }
    for link in re.findall(r'<dd><a href="([^"]+)"', text):
        assert viewer.get(link.replace("&amp;", "&")).context["cl"].result_count == 2


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("right", "names"),
    [
        ("view_tokensession", {"live sessions"}),
        ("view_blacklistentry", {"refused now", "revoked in the last 24 hours"}),
        ("view_cleanuprun", {"rows wait for the cleanup"}),
    ],
)
def test_the_front_page_shows_what_one_may_view(
    staff: Callable[..., Client], user: AbstractUser, right: str, names: set[str]
) -> None:
    make_session(user)
    make_run(outcome="failed", error="disk full")
    make_entry(user=user, reason="reuse")
    text = shown(staff(right))
    assert set(figures(text)) == names
    assert ("disk full" in text) is (right == "view_cleanuprun")
    assert ("used twice" in text) is (right == "view_blacklistentry")


@pytest.mark.any_database
def test_numbers_too_large_to_count_are_not_counted(
    viewer: Client, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MAX_COUNT", 2)
    for _ in range(3):
        make_session(user)
    assert figures(shown(viewer))["live sessions"] == "more than 2"


@pytest.mark.any_database
def test_the_alarms_of_the_last_day_lead_to_the_user_and_the_entry(
    viewer: Client, user: AbstractUser
) -> None:
    assert "None." in shown(viewer)
    day = timedelta(days=1)
    old = make_entry(new_sid(), scope="session", reason="reuse", created_at=clock.now() - day * 2)
    entry = make_entry(new_sid(), scope="session", reason="reuse", user=user)
    text = shown(viewer)
    assert f'<a href="{page("blacklistentry", "change", entry.pk)}">' in text
    assert f'<a href="{reverse("admin:auth_user_change", args=[user.pk])}">ada</a>' in text
    assert str(old.pk) not in text
    for _ in range(front.MAX_ALARMS):
        make_entry(new_sid(), scope="session", reason="reuse", user_id=987654)
    text = shown(viewer)
    assert text.count("the session ended") == front.MAX_ALARMS
    assert "987654" in text
    link = text.split("the session ended</a></li>")[-1].split('<a href="')[1].split('"')[0]
    found = viewer.get(link.replace("&amp;", "&")).context["cl"].result_count
    assert found == front.MAX_ALARMS + 1


def test_no_alarm_of_the_last_day_is_missed_where_an_index_finds_them(
    viewer: Client, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "LOOKED_THROUGH", 3)
    hours = clock.now() - timedelta(hours=2)
    make_entry(new_sid(), scope="session", reason="reuse", user=user, created_at=hours)
    for _ in range(5):
        make_entry()
    assert ("the session ended" in shown(viewer)) is (connection.vendor != "mysql")


@pytest.mark.any_database
def test_the_plot_has_a_bar_for_each_run_in_the_colour_of_its_outcome(viewer: Client) -> None:
    assert "tokens-plot" not in shown(viewer)
    for number, outcome in enumerate(("succeeded", "partial", "failed", "running")):
        make_run(outcome=outcome, entries_removed=1_000 * number)
    text = shown(viewer)
    plot = text.split("tokens-plot")[1].split("</svg>")[0]
    kinds = re.findall(r'class="tokens-bar-(\w+)"', plot)
    assert kinds == ["good", "odd", "bad", "busy"]
    heights = [float(height) for height in re.findall(r' height="([\d.]+)"', plot)]
    assert heights == sorted(heights)
    assert heights[0] > 0
    assert "2,000 rows, failed" in plot
    assert 'role="img"' in plot
    assert "style=" not in text.split("</figure>")[0]


def drawn(text: str, number: int) -> dict[str, tuple[str, str]]:
    """Return the bars of a plot with their colour and number, by what they stand for."""
    figure = text.split('<figure class="tokens-plot">')[number]
    shape = r'<rect class="tokens-bar-(\w+)"[^>]*><title>([^<]+): ([^<]+)</title>'
    return {what: (kind, told) for kind, what, told in re.findall(shape, figure)}


def tabled(text: str, number: int) -> dict[str, str]:
    figure = text.split('<figure class="tokens-plot">')[number]
    return dict(re.findall(r'<th scope="row">([^<]+)</th><td>([^<]+)</td>', figure))


def test_the_rows_that_wait_and_those_that_will_are_drawn_by_when_they_expire(
    viewer: Client, user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_CLEANUP_MARGIN = timedelta(0)
    text = shown(viewer)
    assert "tokens-plot" not in text
    now = clock.now()
    hours = [-100, -25, -3, -3, -1, 1, 23, 25]
    for hour in hours:
        make_entry(expires_at=now + timedelta(hours=hour, minutes=30))
    # A session's row stays until its last access token has expired.
    make_session(user, expires_at=now - simplejwt.ACCESS_TOKEN_LIFETIME - timedelta(hours=5))
    text = shown(viewer)
    bars = [(kind, told) for kind, told in drawn(text, 1).values() if told != "0 rows"]
    assert bars == [
        ("odd", "2 rows"),
        ("busy", "1 row"),
        ("busy", "2 rows"),
        ("busy", "1 row"),
        ("quiet", "1 row"),
        ("quiet", "1 row"),
    ]
    assert len(bars) == len(drawn(text, 1))  # nothing is drawn if no row is there
    assert len(tabled(text, 1)) == 25
    assert "Waiting: 6. Within 1\xa0day: 2 more." in text
    for place in ("1\xa0day ago, or earlier", "now", "in 1\xa0day"):
        assert f"<span>{place}</span>" in text
    assert text.count("<line ") == 1
    assert "style=" not in text.split("</figure>")[0]


@pytest.mark.any_database
def test_the_rows_that_wait_are_drawn_for_the_interval_of_the_cleanup(
    viewer: Client, settings: Any
) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = timedelta(days=7)
    make_entry(expires_at=clock.now() + timedelta(days=6))
    assert "Within 1\xa0week: 1 more." in shown(viewer)


@pytest.mark.any_database
def test_a_bar_that_is_too_high_to_count_says_so(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_COUNT", 2)
    past = clock.now() - timedelta(hours=3)
    for _ in range(3):
        make_entry(expires_at=past)
    text = shown(viewer)
    assert "Waiting: more than 2." in text
    assert [told for _, told in drawn(text, 1).values() if told != "0 rows"] == ["more than 2 rows"]


def test_the_page_opens_without_the_plot_if_counting_takes_too_long(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_entry(expires_at=clock.now() - timedelta(hours=3))
    monkeypatch.setattr(waiting, "SECONDS", 0)
    text = shown(viewer)
    assert "rows wait for the cleanup" in text
    assert "tokens-plot" not in text


@pytest.mark.any_database
def test_each_plot_says_the_same_in_a_table(viewer: Client) -> None:
    make_run(outcome="succeeded", entries_removed=1_000)
    make_entry(expires_at=clock.now() - timedelta(hours=3))
    text = shown(viewer)
    for number in (1, 2):
        table = tabled(text, number)
        bars = {what: told for what, (_, told) in drawn(text, number).items()}
        assert bars == {what: told for what, told in table.items() if told != "0 rows"}
        assert bars


def test_the_front_page_takes_few_statements(
    viewer: Client, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    make_session(user, expires_at=clock.now() - timedelta(days=1))
    make_entry(user=user, reason="reuse")
    make_run(outcome="failed")
    viewer.get(FRONT)
    with statements() as ran:
        viewer.get(FRONT)
    assert len([sql for sql in ran if '"tokens_' in sql or "`tokens_" in sql]) <= 12


@pytest.mark.any_database
def test_the_front_page_needs_no_context_processor(viewer: Client, settings: Any) -> None:
    engine = settings.TEMPLATES[0]
    kept = [name for name in engine["OPTIONS"]["context_processors"] if "request" not in name]
    options = {**engine["OPTIONS"], "context_processors": kept}
    settings.TEMPLATES = [{**engine, "OPTIONS": options}]
    assert "live sessions" in shown(viewer)


# The admin's own front page


def messages(client: Client, url: str = INDEX) -> list[str]:
    return [str(message) for message in client.get(url).context["messages"]]


@pytest.mark.any_database
def test_the_admins_front_page_warns_if_the_cleanup_is_overdue_or_failed_last(
    viewer: Client, staff: Callable[..., Client]
) -> None:
    now = clock.now()
    assert messages(viewer) == []
    make_run(outcome="succeeded", finished_at=now)
    assert messages(viewer) == []
    make_run(outcome="failed", finished_at=now)
    assert messages(viewer) == [FAILED]
    assert messages(viewer) == [FAILED]  # it does not pile up
    CleanupRun.objects.update(finished_at=now - timedelta(days=3))
    assert messages(viewer) == [OVERDUE]
    assert messages(viewer, FRONT) == []
    assert messages(viewer, "/admin/auth/") == []
    assert messages(staff("view_user")) == []


# Buttons


def press(client: Client, button: str) -> list[str]:
    answer = client.post(page("cleanuprun", "run"), {button: "x"}, follow=True)
    assert answer.redirect_chain == [(page("cleanuprun"), 302)]
    return [str(message) for message in answer.context["messages"]]


@pytest.fixture
def operator(staff: Callable[..., Client]) -> Client:
    return staff("view_cleanuprun", "run_cleanup")


def expire(user: AbstractUser) -> None:
    past = clock.now() - timedelta(minutes=30)  # not long enough to be overdue
    make_entry(expires_at=past)
    make_entry(expires_at=past)
    make_session(user, expires_at=past)
    make_session(user)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [False, True], ids=["", "ATOMIC_REQUESTS"])
def test_the_cleanup_runs_at_the_press_of_a_button_and_is_recorded(
    operator: Client,
    user: AbstractUser,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    atomic: bool,
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    expire(user)
    assert press(operator, "preview") == ["A run would remove 2 entries and 1 session."]
    assert BlacklistEntry.objects.count() == 2
    assert not CleanupRun.objects.exists()
    with caplog.at_level(logging.INFO, "tokens"):
        assert press(operator, "run") == ["Removed 2 entries and 1 session."]
    assert not BlacklistEntry.objects.exists()
    run = CleanupRun.objects.get()
    assert (run.trigger, run.outcome, run.entries_removed) == ("admin", "succeeded", 2)
    logged = LogEntry.objects.get()
    assert (logged.object_id, logged.change_message) == (
        str(run.pk),
        "Removed 2 entries and 1 session.",
    )
    assert "starts the cleanup in the admin" in caplog.text
    assert press(operator, "preview") == ["A run would remove nothing."]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_stops_early_fails_or_meets_another_says_so(
    operator: Client, user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(user)
    with monkeypatch.context() as patch:
        patch.setattr(running, "MAX_SECONDS", 0.0)
        (text,) = press(operator, "run")
    assert text.endswith("Rows are left: run it again.")

    def break_down(**_: Any) -> Any:
        raise OperationalError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(cleanup, "run", break_down)
        assert press(operator, "run") == ["OperationalError: disk full"]
    make_run(outcome="running", slot=1)
    assert press(operator, "run") == ["Another cleanup is running: nothing was done."]


@pytest.mark.any_database
def test_the_buttons_are_for_those_who_may_run_the_cleanup(
    viewer: Client, operator: Client, user: AbstractUser
) -> None:
    expire(user)
    url = page("cleanuprun", "run")
    assert url in operator.get(page("cleanuprun")).text
    assert url not in viewer.get(page("cleanuprun")).text
    for data in ({"run": "x"}, {"preview": "x"}, {}):
        assert viewer.post(url, data).status_code == 403
    assert operator.get(url).status_code == 405
    assert BlacklistEntry.objects.count() == 2
