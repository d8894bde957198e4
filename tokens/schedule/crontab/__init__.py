"""For django-crontab: ``CRONJOBS = [("7 * * * *", "tokens.schedule.crontab.tick")]``."""

from .job import tick

__all__ = ["tick"]
