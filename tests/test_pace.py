"""Full speed when alone, gently while others work."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from tokens import cleanup, clock
from tokens.cleanup import batches, pace, work
from tokens.models import BlacklistEntry

from .expiring import add_entries

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Decide whether others work."""

    def decide(work: Any) -> Any:
        monkeypatch.setattr(pace.Others, "are_busy", lambda self: work)
        return pace.Others("default")

    return decide


@contextmanager
def somebody_else() -> Iterator[Any]:
    other = connection.copy()
    try:
        yield other
    finally:
        other.close()


def write(other: Any) -> None:
    with other.cursor() as cursor:
        cursor.execute("UPDATE tokens_blacklistentry SET expires_at = expires_at")


def test_alone_it_does_not_rest_and_batches_take_three_quarters_of_their_time(others: Any) -> None:
    ours = pace.Pace(others(work=False), batch_size=None, pause=None)
    assert ours.size == 1000
    assert ours.adapt(1000, 0.05) == 0
    assert ours.size == 1500


def test_while_others_work_batches_are_a_twentieth_and_rests_nine_times_as_long(
    others: Any,
) -> None:
    ours = pace.Pace(others(work=True), batch_size=None, pause=None)
    assert ours.adapt(1000, 0.005) == pytest.approx(0.045)
    assert ours.size == 750


@pytest.mark.parametrize(
    ("on_the_way", "each_row", "rows"),
    [(0.02, 2e-6, (500, 500)), (0.02, 1e-3, (50, 80)), (0.001, 2e-6, (1300, 1500))],
    ids=["a long way", "slow rows", "neither"],
)
def test_a_long_way_to_the_database_makes_no_batch_smaller_than_of_use(
    others: Any, on_the_way: float, each_row: float, rows: Any
) -> None:
    ours = pace.Pace(others(work=True), batch_size=None, pause=None)
    for _ in range(30):
        ours.adapt(ours.size, on_the_way + ours.size * each_row)
    assert rows[0] <= ours.size <= rows[1]


def test_a_batch_that_was_stuck_is_no_reason_to_rest_for_long(others: Any) -> None:
    assert pace.Pace(others(work=True), batch_size=None, pause=None).adapt(1000, 60.0) == 5


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 100.0])
def test_a_size_is_at_most_doubled_or_halved_and_has_limits(others: Any, seconds: float) -> None:
    ours = pace.Pace(others(work=False), batch_size=None, pause=None)
    for size in (10, 1000, 50_000):
        ours.adapt(size, seconds)
        assert max(10, size // 2) <= ours.size <= min(50_000, size * 2)


@pytest.mark.parametrize("pause", [0, 0.5])
def test_a_pause_that_is_given_counts_whatever_others_do(others: Any, pause: Any) -> None:
    ours = pace.Pace(others(work=True), batch_size=None, pause=pause)
    assert ours.adapt(1000, 0.05) == pause
    assert ours.size == 1500


def test_a_size_that_is_given_stays_and_the_rests_are_kept(others: Any) -> None:
    ours = pace.Pace(others(work=True), batch_size=7, pause=None)
    assert ours.adapt(7, 0.5) == pytest.approx(4.5)
    assert ours.size == 7


def test_a_run_is_slower_while_others_work(monkeypatch: pytest.MonkeyPatch, others: Any) -> None:
    others(work=True)
    add_entries(12)
    rests = []
    monkeypatch.setattr(work.Work, "_rest", lambda self, seconds: rests.append(seconds))
    assert cleanup.run(batch_size=5).removed == 12
    assert len(rests) == 2
    assert all(seconds > 0 for seconds in rests)


def watching() -> pace.Others:
    """Ask each time, and have asked once: what was before does not count."""
    others = pace.Others("default", ask_first=0, ask_every=0)
    others.are_busy()
    return others


def test_others_are_taken_to_work_until_it_has_watched_for_a_moment() -> None:
    others = pace.Others("default", ask_first=1)
    assert others.are_busy()
    assert others.are_busy()
    time.sleep(1)
    assert not others.are_busy()


def test_others_are_seen_while_they_work_and_not_longer() -> None:
    add_entries(1)
    with somebody_else() as other:
        write(other)
        time.sleep(0.05)
        others = watching()

        def seen() -> Any:
            # Asked again, because a machine that stalls between the two asks too late.
            write(other)
            return others.are_busy()

        for _ in range(2):
            time.sleep(0.05)
            assert not others.are_busy()
            assert any(seen() for _ in range(50))
            time.sleep(0.05)
            others.are_busy()  # a question counts what came just before the last one, too


def test_our_own_writes_are_nobody_elses() -> None:
    others = watching()
    add_entries(5)
    batches.delete(BlacklistEntry.objects.all(), clock.now(), limit=2)
    assert not others.are_busy()


def test_others_are_asked_for_at_most_twice_a_second(statements: Callable[[], Any]) -> None:
    others = pace.Others("default")
    with statements() as ran:
        for _ in range(10):
            others.are_busy()
    assert len(ran) <= 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="knows who may see what")
def test_others_whose_work_may_not_be_seen_are_taken_to_work() -> None:
    role = f"tokens_test_{os.getpid()}"
    with connection.cursor() as cursor, somebody_else() as other:
        cursor.execute(f"CREATE ROLE {role}")
        try:
            cursor.execute(f"SET ROLE {role}")
            others = watching()
            assert not others.are_busy()
            other.ensure_connection()
            time.sleep(0.05)
            assert others.are_busy()
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute(f"DROP ROLE {role}")
