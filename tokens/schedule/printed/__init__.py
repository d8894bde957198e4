"""What ``cleanup_tokens --print-schedule NAME`` prints: text to paste, with this project's paths.

Each runs the cleanup once an hour, if it is due. So the interval stays in the setting
TOKENS_CLEANUP_INTERVAL, a missed run is caught up, and several hosts do no harm.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .cron import cron_d, crontab
from .project import Project
from .systemd import systemd
from .windows import windows

__all__ = ["PAGES", "PIECES", "Project"]

PIECES: Mapping[str, Callable[[Project], str]] = MappingProxyType(
    {"crontab": crontab, "cron.d": cron_d, "systemd": systemd, "windows": windows}
)

# These name no path of this machine, so the documentation has them ready to copy.
PAGES: Mapping[str, str] = MappingProxyType(
    {
        name: f"docs/howto/schedule/{name}.md"
        for name in ("celery", "huey", "django-q2", "apscheduler", "docker", "kubernetes")
    }
)
