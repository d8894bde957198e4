"""For Celery: with ``CELERY_IMPORTS = ["tokens.schedule.celery"]`` the workers know the task.

This module is not called ``tasks``, because any Celery or Huey would then import it unasked.
"""

from typing import Any

from celery import shared_task

from . import task


@shared_task
def clean_up(*, using: str | None = None, max_seconds: float | None = None) -> dict[str, Any]:
    """Clean up if it is due; see ``tokens.schedule.task.clean_up``."""
    return task.clean_up(trigger="celery", using=using, max_seconds=max_seconds)
