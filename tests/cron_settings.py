"""The demo project under a real cron: a job each minute, and what it says and returns is kept."""

import os

from project.settings import *  # noqa: F403

CRONJOBS = [("* * * * *", "tokens.schedule.crontab.tick")]
CRONTAB_DJANGO_SETTINGS_MODULE = "tests.cron_settings"

# cron starts a job with next to no environment, so the line itself carries what is needed.
CRONTAB_COMMAND_PREFIX = os.environ.get("CRON_PREFIX", "")
CRONTAB_COMMAND_SUFFIX = os.environ.get("CRON_SUFFIX", "")
