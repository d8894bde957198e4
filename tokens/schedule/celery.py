"""For Celery: ``CELERY_IMPORTS = ["tokens.schedule.celery"]`` makes the task known to the workers.

Not called ``tasks``, or every Celery and Huey would find it unasked.
"""

from typing import Any

from celery import shared_task

from . import task


@shared_task
def clean_up(*, using: str | None = None, max_seconds: float | None = None) -> dict[str, Any]:
    """Clean up if it is due; see ``tokens.schedule.task.clean_up``."""
    return task.clean_up(trigger="celery", using=using, max_seconds=max_seconds)
