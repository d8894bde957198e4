"""A program that runs APScheduler."""

from .literal import literal
from .project import Project


def apscheduler(project: Project) -> str:
    """Return a file to put beside manage.py."""
    kwargs: dict[str, str | float] = {"trigger": "apscheduler", **project.arguments}
    return f"""\
# Save as cleanup_scheduler.py in {project.directory}
# Keep it running, as a service of its own: {project.python} cleanup_scheduler.py
# See that it works, an hour later: manage.py cleanup_tokens --check
import os

import django
from apscheduler.schedulers.blocking import BlockingScheduler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", {literal(project.settings)})
django.setup()

scheduler = BlockingScheduler()
# Hourly; TOKENS_CLEANUP_INTERVAL decides whether a tick cleans up.
scheduler.add_job(
    "tokens.schedule.task:clean_up",
    "cron",
    minute=7,
    kwargs={literal(kwargs)},
    id="tokens-cleanup",
    replace_existing=True,
    coalesce=True,
    max_instances=1,
    misfire_grace_time=3000,
)
scheduler.start()
"""
