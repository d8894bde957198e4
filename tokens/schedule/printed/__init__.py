"""What ``cleanup_tokens --print-schedule NAME`` prints: a piece to paste, for each scheduler.

Each piece ticks once an hour and cleans up if it is due, so that the interval stays in the setting
TOKENS_CLEANUP_INTERVAL, a missed run is caught up, and several hosts do no harm.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .apscheduler import apscheduler
from .celery import celery
from .cron import cron_d, crontab
from .django_q2 import django_q2
from .docker import docker
from .huey import huey
from .kubernetes import kubernetes
from .project import Project
from .systemd import systemd
from .windows import windows

__all__ = ["FUNCTIONS", "PIECES", "Project"]

PIECES: Mapping[str, Callable[[Project], str]] = MappingProxyType(
    {
        "crontab": crontab,
        "cron.d": cron_d,
        "systemd": systemd,
        "kubernetes": kubernetes,
        "windows": windows,
        "celery": celery,
        "apscheduler": apscheduler,
        "django-q2": django_q2,
        "huey": huey,
        "docker": docker,
    }
)

# Those that call a function instead of the command.
FUNCTIONS = frozenset({"celery", "apscheduler", "django-q2", "huey"})
