"""The cleanup as a plain function, for schedulers that call Python.

Its path is ``tokens.schedule.task.clean_up``, or ``tokens.schedule.task:clean_up``.
"""

from typing import Any

from django.db import close_old_connections

from .. import cleanup


class CleanupFailed(Exception):
    """The run failed. The message is its error."""


def clean_up(
    *, trigger: str = "task", using: str | None = None, max_seconds: float | None = None
) -> dict[str, Any]:
    """Clean up if it is due, and return ``outcome``, ``skipped``, ``stopped`` and ``removed``.

    ``trigger`` is recorded with the run, as what started it. The answer can be written as JSON; the
    reference lists its values. A run that was skipped, or stopped early with rows left, is not a
    failure.

    Raises CleanupFailed if the run failed, and the database's own error if even that could not be
    recorded, so that the scheduler sees the failure.
    """
    # A scheduler's process lives long: its connection may be dead, or waste one of the server's.
    close_old_connections()
    try:
        report = cleanup.run(using=using, trigger=trigger, if_due=True, max_seconds=max_seconds)
    finally:
        close_old_connections()
    if report.outcome == cleanup.Outcome.FAILED:
        raise CleanupFailed(report.error)
    return {
        "outcome": report.outcome,
        "skipped": report.skipped,
        "stopped": report.stopped,
        "removed": report.removed,
    }
