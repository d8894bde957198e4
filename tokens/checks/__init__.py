"""System checks: invalid settings, protection that does not protect, cleanups that never run.

An Error also stops ``manage.py crontab run``, so use one only for what must not run at all.
"""

from . import cached, leaving, leftovers, packages, protection, scheduling, values

__all__ = [
    "cached",
    "leaving",
    "leftovers",
    "packages",
    "protection",
    "scheduling",
    "values",
]
