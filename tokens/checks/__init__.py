"""System checks: settings without meaning, protection in vain, and cleanups that never run.

An Error also stops ``manage.py crontab run``, so it is kept for what must not run at all.
"""

from . import cached, protection, scheduling, values

__all__ = ["cached", "protection", "scheduling", "values"]
