"""For django-crontab: ``CRONJOBS = [("7 * * * *", "tokens.schedule.crontab.tick")]``.

``job`` is what cron starts, ``config`` reads the project's settings for django-crontab, and
``installed`` reads the user's crontab. From outside this package only this door is imported.
"""

from .config import (
    Entry,
    cleanup_entries,
    interpreter,
    is_used,
    manage_path,
    setting,
    settings_module,
)
from .installed import (
    REPAIR,
    Crontab,
    NoProgram,
    State,
    Unreadable,
    inspect,
    judge,
    leftovers,
    read,
)
from .job import tick

__all__ = [
    "REPAIR",
    "Crontab",
    "Entry",
    "NoProgram",
    "State",
    "Unreadable",
    "cleanup_entries",
    "inspect",
    "interpreter",
    "is_used",
    "judge",
    "leftovers",
    "manage_path",
    "read",
    "setting",
    "settings_module",
    "tick",
]
