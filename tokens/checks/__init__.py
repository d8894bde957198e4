"""System checks: invalid settings, protection that does not protect, cleanups that never run.

An Error also stops ``manage.py crontab run``, so use one only for what must not run at all.
"""


def load() -> None:
    """Register all checks. Most of their modules need the models."""
    from . import (  # noqa: F401
        cached,
        clusters,
        cookies,
        leaving,
        leftovers,
        packages,
        protection,
        scheduling,
        throttling,
        values,
        versions,
    )
