"""Full speed when alone, gently while others work."""

import time
from contextlib import contextmanager

import pytest
from django.db import connection

from tokens import cleanup, clock, pace
from tokens.models import BlacklistEntry

from .expiring import add_entries

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def others(monkeypatch):
    """Decide whether others work."""

    def decide(work):
        monkeypatch.setattr(pace._Others, "work", lambda self: work)

    return decide


@contextmanager
def somebody_else():
    other = connection.copy()
    try:
        yield other
    finally:
        other.close()


def write(other):
    with other.cursor() as cursor:
        cursor.execute("UPDATE tokens_blacklistentry SET reason = 'x'")


def test_alone_it_does_not_rest_and_batches_take_three_quarters_of_their_time(others):
    others(work=False)
    ours = pace.Pace("default", batch_size=None, pause=None)

    assert ours.size == 1000
    assert ours.adapt(1000, 0.05) == 0
    assert ours.size == 1500


def test_while_others_work_batches_are_a_twentieth_and_rests_nine_times_as_long(others):
    others(work=True)
    ours = pace.Pace("default", batch_size=None, pause=None)

    assert ours.adapt(1000, 0.005) == pytest.approx(0.045)
    assert ours.size == 750


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 100.0])
def test_a_size_is_at_most_doubled_or_halved_and_has_limits(others, seconds):
    others(work=False)
    ours = pace.Pace("default", batch_size=None, pause=None)

    for size in (10, 1000, 50_000):
        ours.adapt(size, seconds)
        assert max(10, size // 2) <= ours.size <= min(50_000, size * 2)


@pytest.mark.parametrize("pause", [0, 0.5])
def test_a_pause_that_is_given_counts_whatever_others_do(others, pause):
    others(work=True)
    ours = pace.Pace("default", batch_size=None, pause=pause)

    assert ours.adapt(1000, 0.05) == pause
    assert ours.size == 1500


def test_a_size_that_is_given_stays_and_the_rests_are_kept(others):
    others(work=True)
    ours = pace.Pace("default", batch_size=7, pause=None)

    assert ours.adapt(7, 0.5) == pytest.approx(4.5)
    assert ours.size == 7


def test_a_run_is_slower_while_others_work(monkeypatch, others):
    others(work=True)
    add_entries(12)
    rests = []
    monkeypatch.setattr(cleanup._Work, "_rest", lambda self, seconds: rests.append(seconds))

    assert cleanup.run(batch_size=5).removed == 12
    assert len(rests) == 2
    assert all(seconds > 0 for seconds in rests)


def test_others_are_seen_while_they_work_and_not_much_longer(monkeypatch):
    monkeypatch.setattr(pace, "_ASK_EVERY", 0)
    add_entries(1)
    time.sleep(1.1 if connection.vendor != "sqlite" else 0)
    others = pace._Others("default")
    assert not others.work()

    with somebody_else() as other:
        write(other)
        assert others.work()
        if connection.vendor == "mysql":
            time.sleep(1)  # whole seconds are counted
        time.sleep(1.1)
        assert not others.work()


def test_our_own_writes_are_nobody_elses(monkeypatch):
    monkeypatch.setattr(pace, "_ASK_EVERY", 0)
    time.sleep(1.1 if connection.vendor != "sqlite" else 0)
    others = pace._Others("default")

    others.work()
    add_entries(5)
    BlacklistEntry.objects.all().delete_batch(clock.now(), limit=2)

    assert not others.work()


def test_others_are_asked_for_at_most_twice_a_second(statements):
    others = pace._Others("default")

    with statements() as ran:
        for _ in range(10):
            others.work()

    assert len(ran) <= 1
