"""One loop for every process that cleans up by itself: servers, and ``cleanup_tokens --every``.

The database says when a run is due, not a timer. So a restart resets nothing, and if another
process has cleaned up meanwhile, this one waits until the interval has passed since then.
"""

import random
import threading
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Protocol

from django.db import Error, connections

from .. import blacklist, cleanup, clock, retry
from ..cleanup import TICK, CleanupReport
from ..conf import conf
from ..log import logger
from ..models import CleanupRun
from . import durations

# How long to wait after the first failed run. Each further failure doubles it.
_FIRST_RETRY = timedelta(minutes=1)
_SHORTEST = timedelta(seconds=1)

# Processes that were started together drift apart by this part of a wait, a minute at most.
_JITTER, _LONGEST_JITTER = 0.05, timedelta(minutes=1)


class CleanUp(Protocol):
    """``cleanup.run``, or a function around it."""

    def __call__(
        self, *, using: str, if_due: bool, interval: timedelta, stop: threading.Event
    ) -> CleanupReport: ...


class Periodic:
    """Clean up whenever it is due, until ``stop`` is set.

    Without ``interval``, TOKENS_CLEANUP_INTERVAL counts and is read each time. ``told`` is called
    after each attempt, even one that was not due, with its report and the wait until the next one.
    """

    def __init__(
        self,
        clean_up: CleanUp,
        *,
        stop: threading.Event,
        using: str | None = None,
        interval: timedelta | None = None,
        told: Callable[[CleanupReport, timedelta], object] = lambda _report, _wait: None,
    ) -> None:
        self._clean_up, self._stop, self._told = clean_up, stop, told
        self._using = using or blacklist.database()
        self._given = interval
        self._retry = _FIRST_RETRY

    @property
    def _interval(self) -> timedelta:
        return self._given or conf.TOKENS_CLEANUP_INTERVAL

    def run(self) -> CleanupReport | None:
        """Clean up until stopped; return the report of the run under way then, None if none was.

        A failed run is logged and tried again. Only the event ends this, no Exception does.
        """
        logger.info(
            "Token cleanup task started. Will run %s.",
            durations.every(self._interval),
            extra={"event": "task_started"},
        )
        report = None
        try:
            while not self._stop.is_set():
                report, wait = self._attempt()
                self._tell(report, wait)
                if not self._stop.is_set():
                    report = None
                    self._sleep(wait)
        finally:
            logger.info("Token cleanup task stopped.", extra={"event": "task_stopped"})
        return report

    def _tell(self, report: CleanupReport, wait: timedelta) -> None:
        try:
            self._told(report, wait)
        except Exception:
            logger.exception(
                "The report of a token cleanup could not be written", extra={"event": "task_untold"}
            )

    def _attempt(self) -> tuple[CleanupReport, timedelta]:
        """Clean up if it is due; return the report and the wait until the next attempt."""
        unexpected = None
        try:
            try:
                report = self._clean_up(
                    using=self._using, if_due=True, interval=self._interval, stop=self._stop
                )
                wait = self._wait_after(report)
            finally:
                # The wait is long: do not hold a connection meanwhile.
                connections.close_all()
        except Exception as error:  # noqa: BLE001
            report = CleanupReport(cleanup.Outcome.FAILED, error=retry.describe(error))
            unexpected = None if isinstance(error, Error) else error
        if report.outcome == cleanup.Outcome.FAILED:
            return report, self._wait_after_failure(report, unexpected)
        self._retry = _FIRST_RETRY
        return report, wait

    def _wait_after(self, report: CleanupReport) -> timedelta:
        if report.skipped == cleanup.RUNNING_ELSEWHERE or report.stopped == cleanup.LEASE_LOST:
            # The other run may be killed. Then its lease runs out.
            return min(self._interval, CleanupRun.LEASE)
        # Check again at least hourly: clocks change, and another host may have succeeded. Only a
        # success counts, so a partial run is continued then, just as cron's tick does.
        if report.outcome in (cleanup.Outcome.SUCCEEDED, cleanup.Outcome.PARTIAL):
            return min(self._interval, TICK)
        now = clock.database_now(self._using)
        return min(cleanup.due_in(self._using, now, self._interval), TICK)

    def _wait_after_failure(self, report: CleanupReport, error: Exception | None) -> timedelta:
        wait = min(self._retry, self._interval)
        self._retry = min(self._retry * 2, TICK)
        logger.error(
            "Scheduled token cleanup failed: %s. Trying again in %s.",
            report.error,
            durations.words(wait),
            exc_info=error,
            extra={"event": "task_failed"},
        )
        return wait

    def _sleep(self, wait: timedelta) -> None:
        wait = max(wait, _SHORTEST)
        wait += random.random() * min(wait * _JITTER, _LONGEST_JITTER)  # noqa: S311
        until = monotonic() + wait.total_seconds()
        # In slices: some systems refuse to wait for weeks.
        while (seconds := until - monotonic()) > 0 and not self._stop.is_set():
            self._stop.wait(min(seconds, TICK.total_seconds()))
