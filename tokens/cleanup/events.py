"""Tell the log and the listeners how a run goes.

Each record has the same fields, whatever its event: those of the report as far as it is known.
Signals are sent outside of the transactions of the batches.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from .. import clock, retry
from ..log import logger
from ..models import CleanupRun
from ..signals import (
    cleanup_batch_finished,
    cleanup_failed,
    cleanup_finished,
    cleanup_started,
    send,
)
from .report import CleanupReport


def started(report: CleanupReport, *, using: str) -> None:
    """Tell that a run has the lease and begins."""
    logger.info(
        "Running scheduled token cleanup...", extra=_fields("cleanup_started", report, using)
    )
    send(cleanup_started, CleanupRun, run_id=report.run_id, trigger=report.trigger, using=using)


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
    send(
        cleanup_batch_finished,
        CleanupRun,
        run_id=run_id,
        table=table,
        removed=removed,
        seconds=seconds,
        using=using,
    )


def unheard(report: CleanupReport, error: Exception, *, using: str) -> None:
    """Tell that a sign of life could not be given. The run goes on, as long as it has the lease."""
    logger.warning(
        "Token cleanup could not record how far it is: %s",
        retry.describe(error),
        extra=_fields("cleanup_unheard", report, using) | {"error": retry.describe(error)},
    )


def untrimmed(report: CleanupReport, error: Exception, *, using: str) -> None:
    """Tell that old records of runs stay."""
    logger.warning(
        "Token cleanup could not remove old records of runs: %s",
        retry.describe(error),
        exc_info=error,
        extra=_fields("cleanup_untrimmed", report, using) | {"error": retry.describe(error)},
    )


def failing(report: CleanupReport, error: BaseException, *, using: str) -> None:
    """Tell the log of a failure. ``ended`` tells the listeners, once it is recorded."""
    logger.error(
        "Token cleanup failed", exc_info=error, extra=_fields("cleanup_failed", report, using)
    )


def unable(error: BaseException, *, trigger: str, using: str) -> None:
    """Tell the listeners that a run could not even begin. Its caller has the error to show."""
    report = CleanupReport(CleanupRun.Outcome.FAILED, error=retry.describe(error), trigger=trigger)
    send(cleanup_failed, CleanupRun, report=report, using=using)


def unrecorded(report: CleanupReport, error: Exception, *, using: str) -> None:
    """Tell that a run was stopped by somebody's lock, also from recording that."""
    logger.warning(
        "Token cleanup could not record that it stopped: %s. The next run can begin in %d minutes.",
        retry.describe(error),
        CleanupRun.LEASE.total_seconds() // 60,
        extra=_fields("cleanup_unrecorded", report, using),
    )


def ended(report: CleanupReport, *, using: str) -> None:
    """Tell what a run did."""
    if report.outcome == CleanupRun.Outcome.FAILED:
        send(cleanup_failed, CleanupRun, report=report, using=using)
        return
    done = "completed" if report.outcome == CleanupRun.Outcome.SUCCEEDED else "stopped early"
    logger.info(
        "Scheduled cleanup %s: removed %d expired token(s)",
        done,
        report.removed,
        extra=_fields("cleanup_finished", report, using),
    )
    send(cleanup_finished, CleanupRun, report=report, using=using)


def _fields(event: str, report: CleanupReport, using: str) -> dict[str, Any]:
    facts = {
        name: clock.aware(value) if isinstance(value, datetime) else value
        for name, value in asdict(report).items()
    }
    return {"event": event, "using": using, **facts, "removed": report.removed}
