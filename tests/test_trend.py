import threading
from datetime import timedelta

import pytest

from tokens import cleanup, clock
from tokens.cleanup import backlog, trend
from tokens.models import CleanupRun

from .expiring import add_entries, add_run, add_sessions

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def nothing_is_kept_longer(settings):
    settings.TOKENS_CLEANUP_MARGIN = timedelta(0)
    settings.TOKENS_CLEANUP_INTERVAL = DAY


def add(*, ago, outcome="succeeded", removed=0, sessions=0, lag=None, left=None):
    """Add a run that began ``ago``; ``lag`` is the age of the oldest row that it left."""
    run = add_run(ago=ago, outcome=outcome, slot=1 if outcome == "running" else None)
    run.entries_removed, run.sessions_removed, run.rows_left = removed, sessions, left
    run.oldest_left = None if lag is None else run.started_at - lag
    run.save()
    return run


# Removed and added


def test_nothing_is_known_before_the_first_success():
    add(ago=DAY, outcome="partial", removed=5, lag=HOUR)
    add_entries(3)

    status = cleanup.status()

    assert (status.removed_per_run, status.removed_per_day, status.added_per_day) == (None,) * 3


def test_an_hour_must_have_passed_since_the_success():
    add(ago=59 * MINUTE)
    add_entries(3)

    assert cleanup.status().added_per_day is None


def test_what_expired_is_what_was_removed_and_what_waits():
    add(ago=2 * DAY, removed=1_000)  # what it removed had waited before
    add(ago=DAY, removed=60, sessions=30)
    add_entries(7)
    add_sessions(3)

    status = cleanup.status()

    assert status.removed_per_run == 90
    assert status.removed_per_day == pytest.approx(90, rel=0.01)
    assert status.added_per_day == pytest.approx(50, rel=0.01)


def test_a_day_that_is_not_over_does_not_look_as_if_too_little_went():
    add(ago=3.9 * DAY)
    for days in (2.9, 1.9, 0.9):
        add(ago=days * DAY, removed=100)
    add_entries(90)

    status = cleanup.status()

    assert status.removed_per_day == pytest.approx(100, rel=0.01)
    assert status.added_per_day == pytest.approx(100, rel=0.01)


def test_after_the_only_success_it_is_not_known_yet_how_much_a_day_goes():
    add(ago=12 * HOUR)
    add_entries(50)

    status = cleanup.status()

    assert (status.removed_per_run, status.removed_per_day) == (None, None)
    assert status.added_per_day == pytest.approx(100, rel=0.01)


def test_a_cleanup_that_does_not_run_any_more_removes_less_and_less_a_day():
    add(ago=5 * DAY)
    add(ago=4 * DAY, removed=100)

    assert cleanup.status().removed_per_day == pytest.approx(25, rel=0.01)


def test_the_window_begins_with_the_earliest_success_of_a_week():
    add(ago=8 * DAY)
    add(ago=7.5 * DAY, removed=5_000)
    add(ago=5 * DAY, removed=5_000)
    add(ago=2.5 * DAY, removed=500)

    assert cleanup.status().added_per_day == pytest.approx(100, rel=0.01)


def test_without_a_success_in_a_week_it_begins_with_the_last_one():
    add(ago=21 * DAY, removed=9)
    add(ago=20 * DAY, removed=9)
    add(ago=10 * DAY, outcome="partial", removed=40, lag=DAY)
    add(ago=1 * DAY, outcome="abandoned", removed=50)
    add_entries(10)

    assert cleanup.status().added_per_day == pytest.approx(5, rel=0.01)


def test_a_run_at_work_has_removed_something_but_is_no_run_to_go_by():
    add(ago=2 * DAY)
    add(ago=DAY, removed=80)
    add(ago=MINUTE, outcome="running", removed=20)
    add_entries(60)

    status = cleanup.status()

    assert status.removed_per_run == 80
    assert status.removed_per_day == pytest.approx(80, rel=0.01)
    assert status.added_per_day == pytest.approx(80, rel=0.01)


@pytest.mark.parametrize(
    ("newest", "added"),
    [
        ({"outcome": "succeeded"}, 100),
        ({"outcome": "partial", "lag": HOUR, "left": 50}, 150),
        ({"outcome": "partial", "lag": HOUR, "left": trend.LEFT_LIMIT}, 52),
        ({"outcome": "failed", "lag": HOUR}, 52),
    ],
    ids=["left nothing", "knows what it left", "left more than it counts", "does not know"],
)
def test_a_backlog_too_large_to_count_is_taken_from_the_newest_run_that_knows(
    monkeypatch, newest, added
):
    monkeypatch.setattr(backlog, "BACKLOG_LIMIT", 4)
    add(ago=2 * DAY)
    add(ago=DAY, removed=100, **newest)
    add_entries(9)

    assert cleanup.status().added_per_day == pytest.approx(added, rel=0.01)


# Falling behind


def early(*runs):
    """Add runs that ended early, a day apart, the newest an hour ago: (lag in hours, rows left)."""
    for number, (lag, left) in enumerate(runs):
        ago = (len(runs) - 1 - number) * DAY + HOUR
        add(ago=ago, outcome="partial", removed=10, lag=lag * HOUR, left=left)
    add_entries(1)


@pytest.mark.parametrize(
    ("runs", "behind"),
    [
        ([], False),
        ([(10, 100)], False),
        ([(10, 100), (20, 200)], True),
        ([(10, 100), (10, 100)], True),
        ([(10, None), (20, None)], True),
        ([(20, None), (10, None)], False),
        ([(10, 300), (34, 200)], False),
        ([(800, trend.LEFT_LIMIT), (700, trend.LEFT_LIMIT)], False),
        ([(700, trend.LEFT_LIMIT), (701, trend.LEFT_LIMIT)], True),
        ([(10, 100), (40, 400), (9, 90)], False),
        ([(800, None), (799.9, None)], True),
    ],
    ids=[
        "no run ended early",
        "one run says nothing",
        "more and older",
        "no fewer and no younger",
        "older, and nobody counted",
        "younger, and nobody counted",
        "a spike: older but fewer",
        "years to catch up: too many to count but younger",
        "too many to count and older",
        "it was worse in between",
        "it would take years",
    ],
)
def test_it_falls_behind_if_what_runs_leave_gets_neither_less_nor_younger(runs, behind):
    add(ago=5 * DAY)
    early(*runs)

    assert cleanup.status().falling_behind is behind


def test_it_can_fall_behind_without_ever_having_succeeded():
    early((10, 100), (20, 200))

    assert cleanup.status().falling_behind


def test_runs_before_the_last_success_do_not_count():
    early((10, 100), (20, 200))
    add(ago=MINUTE)

    assert not cleanup.status().falling_behind


def test_runs_of_more_than_a_week_ago_do_not_count():
    add(ago=8 * DAY, outcome="partial", lag=HOUR)
    early((10, 100))

    assert not cleanup.status().falling_behind


def test_two_runs_within_an_hour_say_nothing():
    for minutes, lag in ((50, 10), (5, 11)):
        add(ago=minutes * MINUTE, outcome="partial", lag=lag * HOUR)
    add_entries(1)

    assert not cleanup.status().falling_behind


def test_it_does_not_fall_behind_where_nothing_waits():
    add(ago=DAY, outcome="partial", lag=HOUR)
    add(ago=HOUR, outcome="partial", lag=2 * HOUR)

    assert not cleanup.status().falling_behind


@pytest.mark.parametrize(
    ("runs", "hours"),
    [([(40, 300), (60, 200)], 48), ([(40, None), (30, None)], 72)],
    ids=["by the number of rows", "by their age"],
)
def test_where_it_gains_ground_it_says_when_it_has_caught_up(runs, hours):
    early(*runs)

    status = cleanup.status()

    newest = CleanupRun.objects.latest("pk").started_at
    assert status.catches_up_at - newest == pytest.approx(hours * HOUR, abs=MINUTE)
    assert not status.falling_behind


def test_what_is_kept_longer_is_not_late(settings):
    settings.TOKENS_RETENTION = timedelta(hours=30)
    early((32, None), (31, None))
    add_entries(1)

    status = cleanup.status()

    # An hour late instead of two, so it takes as long again.
    assert status.catches_up_at is not None
    newest = CleanupRun.objects.latest("pk").started_at
    assert status.catches_up_at - newest == pytest.approx(DAY, abs=MINUTE)


def test_a_moment_that_has_passed_is_no_estimate():
    add(ago=6 * DAY, outcome="partial", lag=40 * HOUR, left=100)
    add(ago=5 * DAY, outcome="partial", lag=30 * HOUR, left=10)
    add_entries(1)

    status = cleanup.status()

    assert (status.falling_behind, status.catches_up_at) == (False, None)


# What runs record


def test_a_run_that_is_out_of_time_records_what_it_leaves():
    add_entries(3, ends=-5 * DAY)
    add_sessions(2, ends=-9 * DAY)
    before = clock.now()

    report = cleanup.run(max_seconds=0)

    run = CleanupRun.objects.get()
    assert (run.outcome, run.rows_left, report.rows_left) == ("partial", 5, 5)
    assert run.oldest_left == report.oldest_left
    assert before - 9 * DAY - MINUTE < run.oldest_left < before - 9 * DAY + MINUTE


def test_what_is_left_is_counted_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(trend, "LEFT_LIMIT", 4)
    add_entries(3)
    add_sessions(3)

    assert cleanup.run(max_seconds=0).rows_left == 4


def test_a_run_that_was_asked_to_stop_does_not_keep_anybody_waiting():
    add_entries(3)
    stop = threading.Event()
    stop.set()

    report = cleanup.run(stop=stop)

    assert report.outcome == "partial"
    assert report.oldest_left is not None
    assert report.rows_left is None


def test_a_run_that_is_done_leaves_nothing():
    add_entries(3)

    report = cleanup.run()

    assert (report.oldest_left, report.rows_left) == (None, None)


# The costs


def test_asking_costs_the_same_however_many_runs_and_rows(statements):
    def cost():
        with statements() as ran:
            assert cleanup.status().falling_behind
        assert {sql.split()[0] for sql in ran} == {"SELECT"}
        return len(ran)

    add(ago=6 * DAY)
    early((10, 100), (20, 200))
    few = cost()
    early((30, 300), (40, 400), (50, 500))
    for _ in range(40):
        add(ago=2 * HOUR, outcome="partial", removed=1, lag=50 * HOUR, left=500)
    add_entries(200)

    assert cost() == few == 12


def test_a_backlog_too_large_to_count_costs_one_more_statement(statements, monkeypatch):
    monkeypatch.setattr(backlog, "BACKLOG_LIMIT", 1)
    add(ago=6 * DAY)
    early((10, 100), (20, 200))

    with statements() as ran:
        cleanup.status()

    assert len(ran) == 13


def test_counting_does_not_read_the_rows_themselves(statements):
    add_entries(2)

    with statements() as ran:
        cleanup.status()

    [count] = [sql for sql in ran if "COUNT(*) FROM" in sql and "blacklistentry" in sql]
    assert "key" not in count
    assert "expires_at" in count


def test_failures_say_nothing_about_the_speed():
    for hours in (30, 20, 10):
        run = add_run(ago=hours * HOUR, outcome="failed")
        run.oldest_left = run.started_at - 100 * HOUR
        run.save()
    add_entries(1)

    assert cleanup.status().overdue
    assert not cleanup.status().falling_behind
