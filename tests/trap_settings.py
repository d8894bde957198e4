"""The demo project with all the traps of django-crontab at once."""

import os

from project.settings import *  # noqa: F403

CRONJOBS = [("@daily", "tokens.schedule.crontab.tick", {"pause": 1}, {}, ">> it-%F.log")]
CRONTAB_EXECUTABLE = "/no/such/crontab"
CRONTAB_LOCK_JOBS = True
CRONTAB_PYTHON_EXECUTABLE = "/srv/my shop/python"
del CRONTAB_DJANGO_PROJECT_NAME, CRONTAB_DJANGO_SETTINGS_MODULE  # noqa: F821

if "NO_JOBS" in os.environ:
    CRONJOBS = []
