"""System checks: settings without meaning, and ways to believe oneself protected in vain.

An Error also stops ``manage.py crontab run``, so it is kept for what must not run at all.
"""

from . import cached, protection, values

__all__ = ["cached", "protection", "values"]
