"""The cleanup as a plain function, for schedulers that call Python.

Name it by its path: ``tokens.schedule.task.clean_up``, or ``tokens.schedule.task:clean_up``.
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

    ``trigger`` is what the record of the run says started it. The answer can be written as JSON;
    the reference says what may stand in it. A run that was skipped, or stopped early with rows left
    over, is no failure.

    Raises CleanupFailed if the run failed, and the database's own error if not even that could be
    recorded, so that the scheduler sees it.
    """
    # A scheduler's process lives long: its connection may be dead, or waste a server's slot.
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
