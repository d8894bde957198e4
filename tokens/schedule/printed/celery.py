"""Settings for Celery and its beat."""

from .literal import literal
from .project import Project


def celery(project: Project) -> str:
    """Return settings, for an app that reads Django's with the namespace CELERY."""
    kwargs = f'\n        "kwargs": {literal(project.arguments)},' if project.arguments else ""
    return f"""\
# Add this to {project.settings}, for a Celery app that calls
# config_from_object("django.conf:settings", namespace="CELERY").
# If you have these settings already, add the entries to yours.
# Run workers and exactly one beat: celery -A ... worker; celery -A ... beat
# See that it works: celery -A ... call tokens.schedule.celery.clean_up
from celery.schedules import crontab

CELERY_IMPORTS = ["tokens.schedule.celery"]
CELERY_BEAT_SCHEDULE = {{
    # Hourly; TOKENS_CLEANUP_INTERVAL decides whether a tick cleans up.
    "tokens-cleanup": {{
        "task": "tokens.schedule.celery.clean_up",{kwargs}
        "schedule": crontab(minute=7),
        # While no worker is there, ticks don't pile up.
        "options": {{"expires": 3000}},
    }},
}}
"""
