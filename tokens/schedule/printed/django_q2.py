"""A schedule for django-q2, which keeps them in its table."""

from .literal import literal
from .project import Project


def django_q2(project: Project) -> str:
    """Return Python to run once, with Django set up."""
    kwargs: dict[str, str | float] = {"trigger": "django-q2", **project.arguments}
    arguments = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
    return f"""\
# Run this once, in `manage.py shell` or a data migration. Again does no harm.
# See that it works: the admin, "Scheduled tasks" and "Successful tasks"; `manage.py qcluster` runs.
from django_q.models import Schedule

Schedule.objects.update_or_create(
    name="tokens-cleanup",
    defaults={{
        "func": "tokens.schedule.task.clean_up",
        "kwargs": {literal(arguments)},
        # Hourly; TOKENS_CLEANUP_INTERVAL decides whether a tick cleans up.
        "schedule_type": Schedule.HOURLY,
        "repeats": -1,
    }},
)
"""
