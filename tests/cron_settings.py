"""The demo project under a real cron: a job each minute, and what it says and returns is kept."""

import json
import os

from project.settings import *  # noqa: F403

EACH_MINUTE = '[["* * * * *", "tokens.schedule.crontab.tick"]]'
CRONJOBS = json.loads(os.environ.get("CRON_JOBS", EACH_MINUTE))
CRONTAB_DJANGO_SETTINGS_MODULE = "tests.cron_settings"

# cron starts a job with next to no environment, so the line itself carries what is needed.
CRONTAB_COMMAND_PREFIX = os.environ.get("CRON_PREFIX", "")
CRONTAB_COMMAND_SUFFIX = os.environ.get("CRON_SUFFIX", "")
