"""Tell the log and the listeners how a run goes.

Each record has the same fields, whatever its event: those of the report as far as it is known.
Signals are sent outside of the transactions of the batches.
"""

import logging
from dataclasses import asdict
from datetime import datetime
from typing import Any

from .. import clock, retry
from ..models import CleanupRun
from ..signals import (
    cleanup_batch_finished,
    cleanup_failed,
    cleanup_finished,
    cleanup_started,
)
from .report import CleanupReport

logger = logging.getLogger("tokens")


def started(report: CleanupReport, *, using: str) -> None:
    """Tell that a run has the lease and begins."""
    logger.info(
        "Running scheduled token cleanup...", extra=_fields("cleanup_started", report, using)
    )
    cleanup_started.send_robust(
        CleanupRun, run_id=report.run_id, trigger=report.trigger, using=using
    )


def skipped(report: CleanupReport, *, using: str) -> None:
    """Tell that another run is at work."""
    logger.info(
        "Token cleanup skipped: another run is at work",
        extra=_fields("cleanup_skipped", report, using),
    )


def slow(report: CleanupReport, *, using: str, tables: list[str]) -> None:
    """Tell why the run takes longer than it could."""
    logger.info(
        "Token cleanup loads each row of: %s. A receiver listens to Django's delete signals, or"
        " another model points there",
        ", ".join(tables),
        extra=_fields("cleanup_slow_path", report, using) | {"tables": tables},
    )


def batch_finished(table: str, removed: int, seconds: float, *, run_id: int, using: str) -> None:
    """Tell the listeners that a batch is committed. The log would drown in batches."""
    cleanup_batch_finished.send_robust(
        CleanupRun, run_id=run_id, table=table, removed=removed, seconds=seconds, using=using
    )


def failing(report: CleanupReport, error: BaseException, *, using: str) -> None:
    """Tell the log of a failure. ``ended`` tells the listeners, once it is recorded."""
    logger.error(
        "Token cleanup failed", exc_info=error, extra=_fields("cleanup_failed", report, using)
    )


def unable(error: BaseException, *, trigger: str, using: str) -> None:
    """Tell the listeners that a run could not even begin. Its caller has the error to show."""
    report = CleanupReport(CleanupRun.Outcome.FAILED, error=retry.describe(error), trigger=trigger)
    cleanup_failed.send_robust(CleanupRun, report=report, using=using)


def ended(report: CleanupReport, *, using: str) -> None:
    """Tell what a run did."""
    if report.outcome == CleanupRun.Outcome.FAILED:
        cleanup_failed.send_robust(CleanupRun, report=report, using=using)
        return
    done = "completed" if report.outcome == CleanupRun.Outcome.SUCCEEDED else "stopped early"
    logger.info(
        "Scheduled cleanup %s: removed %d expired token(s)",
        done,
        report.removed,
        extra=_fields("cleanup_finished", report, using),
    )
    cleanup_finished.send_robust(CleanupRun, report=report, using=using)


def _fields(event: str, report: CleanupReport, using: str) -> dict[str, Any]:
    facts = {
        name: clock.aware(value) if isinstance(value, datetime) else value
        for name, value in asdict(report).items()
    }
    return {"event": event, "using": using, **facts, "removed": report.removed}
