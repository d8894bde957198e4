"""The loop. Its waits are recorded instead of waited for."""

import logging
import random
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections

from tests.deleting import replace_batches
from tokens import cleanup, clock, retry
from tokens.cleanup import CleanupReport
from tokens.models import BlacklistEntry, CleanupRun
from tokens.querysets import RunQuerySet
from tokens.schedule import periodic
from tokens.schedule.periodic import Periodic

from .expiring import add_entries, add_run
from .processes import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3_600, 86_400))


class Waiting(threading.Event):
    """An event whose waits are recorded and take no time; it is set after ``rounds`` of them."""

    def __init__(self, rounds: Any, during: Any = lambda: None) -> None:
        super().__init__()
        self.waits, self._rounds, self._during = [], rounds, during

    def wait(self, timeout: Any = None) -> Any:
        self.waits.append(timedelta(seconds=timeout))
        self._during()
        if len(self.waits) >= self._rounds:
            self.set()
        return self.is_set()


@pytest.fixture
def clock_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The loop's clock, which is put forward by each wait, and no jitter."""
    monkeypatch.setattr(random, "random", lambda: 0.0)

    def use(event: Any) -> Any:
        monkeypatch.setattr(
            periodic, "monotonic", lambda: sum(event.waits, timedelta()).total_seconds()
        )
        return event

    return use


@pytest.fixture
def waits(clock_of_the_loop: Any) -> Any:
    """Run the loop for some waits; give their lengths, and the reports."""

    def run(
        rounds: Any,
        *,
        clean_up: Any = cleanup.run,
        interval: Any = None,
        during: Any = lambda: None,
    ) -> Any:
        event = clock_of_the_loop(Waiting(rounds, during))
        reports = []
        loop = Periodic(
            clean_up,
            stop=event,
            interval=interval,
            told=lambda report, wait: reports.append(report),
        )
        assert loop.run() is None
        return event.waits, [report.skipped or str(report.outcome) for report in reports]

    return run


def answering(*outcomes: Any, **fields: Any) -> Any:
    """Return a cleanup that answers with ``outcomes``, one after the other."""
    left = iter(outcomes)

    def clean_up(**options: Any) -> Any:
        outcome = next(left)
        if isinstance(outcome, BaseException):
            raise outcome
        return CleanupReport(outcome, **fields)

    return clean_up


# When it runs


def test_it_runs_at_once_when_it_is_due(waits: Any) -> None:
    add_entries(2)
    assert waits(1)[1] == ["succeeded"]
    assert not BlacklistEntry.objects.exists()


def test_it_does_nothing_when_it_is_not_due_and_asks_again_within_the_hour(
    waits: Any, settings: Any
) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = DAY
    add_run(ago=2 * HOUR)
    add_entries(1)
    assert waits(3) == ([HOUR] * 3, ["not due"] * 3)
    assert BlacklistEntry.objects.exists()


def test_it_waits_until_the_database_says_that_it_is_due(waits: Any) -> None:
    add_run(ago=20 * MINUTE)
    [wait], skipped = waits(1, interval=30 * MINUTE)
    assert skipped == ["not due"]
    assert 9.9 * MINUTE < wait < 10.1 * MINUTE


def test_it_runs_again_after_the_interval(waits: Any, settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = 30 * MINUTE

    def half_an_hour_passes() -> None:
        # SQLite's clock has milliseconds only, so it may be a little behind ours.
        CleanupRun.objects.update(finished_at=clock.now() - 30 * MINUTE - SECOND)

    assert waits(3, during=half_an_hour_passes) == ([30 * MINUTE] * 3, ["succeeded"] * 3)


def test_a_success_of_somebody_else_puts_it_off(waits: Any) -> None:
    def somebody_else() -> None:
        CleanupRun.objects.all().delete()
        add_run(ago=10 * MINUTE)

    [first, second], outcomes = waits(2, interval=30 * MINUTE, during=somebody_else)
    assert outcomes == ["succeeded", "not due"]
    assert first == 30 * MINUTE
    assert 19.9 * MINUTE < second < 20.1 * MINUTE


def test_the_given_interval_counts_and_not_the_setting(waits: Any, settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = DAY
    add_run(ago=HOUR)
    assert waits(1, interval=HOUR)[1] == ["succeeded"]


def test_the_setting_is_read_each_time(waits: Any, settings: Any) -> None:
    settings.TOKENS_CLEANUP_INTERVAL = DAY
    add_run(ago=2 * HOUR)

    def shorten() -> None:
        settings.TOKENS_CLEANUP_INTERVAL = HOUR

    assert waits(2, during=shorten)[1] == ["not due", "succeeded"]


def test_a_success_in_the_future_does_not_make_it_sleep(waits: Any) -> None:
    add_run(ago=-400 * DAY)
    assert waits(1)[1] == ["succeeded"]


def test_a_run_elsewhere_is_asked_for_again_when_its_lease_may_be_over(waits: Any) -> None:
    add_run(ago=timedelta(0), outcome="running", slot=1)
    assert waits(1) == ([CleanupRun.LEASE], ["running elsewhere"])
    assert waits(1, interval=MINUTE) == ([MINUTE], ["running elsewhere"])


def test_a_run_that_was_killed_is_taken_over_when_its_lease_is_over(waits: Any) -> None:
    killed = add_run(ago=timedelta(0), outcome="running", slot=1)
    add_entries(2)

    def time_passes() -> None:
        CleanupRun.objects.filter(slot=1).update(heartbeat_at=clock.now() - 2 * CleanupRun.LEASE)

    assert waits(2, during=time_passes)[1] == ["running elsewhere", "succeeded"]
    killed.refresh_from_db()
    assert killed.outcome == "abandoned"
    assert not BlacklistEntry.objects.exists()


@pytest.mark.parametrize(("interval", "wait"), [(DAY, HOUR), (MINUTE, MINUTE)], ids=str)
def test_after_a_partial_run_the_next_comes_within_the_hour(
    waits: Any, interval: Any, wait: Any
) -> None:
    add_entries(3)

    def out_of_time(**options: Any) -> Any:
        return cleanup.run(max_seconds=0, **options)

    waited, outcomes = waits(3, clean_up=out_of_time, interval=interval)
    assert (waited, outcomes) == ([wait] * 3, ["partial"] * 3)


def test_a_listener_that_fails_is_logged_and_survived(
    clock_of_the_loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    event = clock_of_the_loop(Waiting(2))

    def fail(report: Any, wait: Any) -> None:
        raise OSError(28, "No space left on device")

    Periodic(answering("succeeded", "succeeded"), stop=event, told=fail).run()
    assert len(event.waits) == 2
    assert [r.event for r in caplog.records if r.levelno == logging.ERROR] == ["task_untold"] * 2


def test_it_never_waits_for_less_than_a_second(waits: Any) -> None:
    assert waits(2, interval=timedelta(milliseconds=1))[0] == [SECOND] * 2


@pytest.mark.parametrize(
    ("interval", "wait"), [(10 * SECOND, 10.5 * SECOND), (50 * MINUTE, 51 * MINUTE)]
)
def test_processes_that_started_together_drift_apart(
    waits: Any, monkeypatch: pytest.MonkeyPatch, interval: Any, wait: Any
) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    assert waits(1, interval=interval)[0] == [wait]


# Failing


def test_failed_runs_are_tried_again_after_a_wait_that_grows_up_to_an_hour(
    waits: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failing = answering(*["failed"] * 9, error="OperationalError: disk full")
    waited, outcomes = waits(9, clean_up=failing, interval=DAY)
    assert [wait // MINUTE for wait in waited] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert outcomes == ["failed"] * 9
    said = [record.getMessage() for record in caplog.records if record.event == "task_failed"]
    assert said[1] == (
        "Scheduled token cleanup failed: OperationalError: disk full. Trying again in 2 minutes."
    )


def test_the_wait_after_a_failure_is_never_longer_than_the_interval(waits: Any) -> None:
    assert waits(3, clean_up=answering(*["failed"] * 3), interval=90 * SECOND)[0] == [
        MINUTE,
        90 * SECOND,
        90 * SECOND,
    ]


def test_after_a_success_failures_are_counted_anew(waits: Any) -> None:
    outcomes = ("failed", "failed", "succeeded", "failed")
    assert waits(4, clean_up=answering(*outcomes), interval=10 * MINUTE)[0] == [
        MINUTE,
        2 * MINUTE,
        10 * MINUTE,
        MINUTE,
    ]


@pytest.mark.parametrize(
    ("error", "traceback"),
    [(OperationalError("gone"), False), (ZeroDivisionError("bug"), True)],
    ids=["database", "bug"],
)
def test_an_exception_is_logged_and_survived(
    waits: Any, caplog: pytest.LogCaptureFixture, error: Any, traceback: bool
) -> None:
    assert waits(2, clean_up=answering(error, "succeeded"))[1] == ["failed", "succeeded"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.event == "task_failed"
    assert f"{type(error).__name__}: {error}. Trying again" in record.getMessage()
    assert bool(record.exc_info) == traceback


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_is_meant_to_end_the_process_ends_the_loop(error: Any) -> None:
    with pytest.raises(error):
        Periodic(answering(error()), stop=threading.Event()).run()


def test_a_database_that_fails_is_recovered_from(
    waits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_entries(1)
    monkeypatch.setattr(retry, "WAITS", ())
    patch = pytest.MonkeyPatch()

    def fail(self: Any, cutoff: Any, *, limit: Any, reached: Any) -> None:
        raise OperationalError("disk full")

    replace_batches(patch, fail)
    assert waits(2, during=patch.undo)[1] == ["failed", "succeeded"]
    assert list(CleanupRun.objects.order_by("pk").values_list("outcome", flat=True)) == [
        "failed",
        "succeeded",
    ]


def test_a_question_that_fails_is_a_failure(waits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add_run(ago=MINUTE)

    def fail(runs: Any, now: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(RunQuerySet, "last_success", fail)
    assert waits(1) == ([MINUTE], ["failed"])


# Stopping


def test_one_that_was_stopped_before_does_nothing() -> None:
    stop = threading.Event()
    stop.set()
    assert Periodic(cleanup.run, stop=stop).run() is None
    assert not CleanupRun.objects.exists()


def test_a_run_under_way_ends_after_its_batch_and_its_report_is_returned() -> None:
    add_entries(5)
    stop = threading.Event()

    def two_at_a_time(**options: Any) -> Any:
        return cleanup.run(batch_size=2, progress=lambda rows: stop.set(), **options)

    report = Periodic(two_at_a_time, stop=stop).run()
    assert (report.outcome, report.stopped, report.removed) == ("partial", "asked to stop", 2)


def test_it_can_be_stopped_while_it_waits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tokens")
    stop = threading.Event()
    thread = threading.Thread(target=Periodic(answering("succeeded"), stop=stop).run)
    thread.start()
    stop.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert caplog.messages == [
        "Token cleanup task started. Will run every 24 hours.",
        "Token cleanup task stopped.",
    ]


def test_no_connection_is_held_while_it_waits(waits: Any) -> None:
    held = []

    def look() -> None:
        held.append(connections["default"].connection)

    waits(2, during=look, interval=HOUR)
    assert held == [None, None]
