"""A periodic task for Huey."""

from .literal import literal
from .project import Project


def huey(project: Project) -> str:
    """Return Python for the module ``tasks`` of an app, where Huey finds it."""
    kwargs: dict[str, str | float] = {"trigger": "huey", **project.arguments}
    arguments = ", ".join(f"{name}={literal(value)}" for name, value in kwargs.items())
    return f"""\
# Add this to tasks.py of one of your apps: `manage.py run_huey` finds it there.
# See that it works, an hour later: manage.py cleanup_tokens --check
from huey import crontab
from huey.contrib.djhuey import db_periodic_task

from tokens.schedule.task import clean_up


# Hourly; TOKENS_CLEANUP_INTERVAL decides whether a tick cleans up.
@db_periodic_task(crontab(minute="7"))
def clean_up_tokens():
    return clean_up({arguments})
"""
