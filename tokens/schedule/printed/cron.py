"""A line for ``crontab -e``, and a file for ``/etc/cron.d``."""

import shlex

from .project import Project

_ABOUT = """\
# It ticks hourly; TOKENS_CLEANUP_INTERVAL decides whether a tick cleans up. It is silent
# unless it fails, or stops early with rows left.
# cron passes no environment: the settings must find their secrets by themselves, in a file say.
# See that it works, an hour later: manage.py cleanup_tokens --check
"""


def crontab(project: Project) -> str:
    """Return a line for the crontab of one user."""
    return f"""\
# Add this with `crontab -e`, as the user who runs the site.
{_ABOUT}7 * * * * {_line(project)}
"""


def cron_d(project: Project) -> str:
    """Return a file for /etc/cron.d, whose lines name the user."""
    return f"""\
# Save as /etc/cron.d/tokens-cleanup (no dot in the name), owned by root, mode 644.
# The sixth word is the user who runs it: the one who runs the site, best not root.
{_ABOUT}7 * * * * {project.user} {_line(project)}
"""


def _line(project: Project) -> str:
    line = f"cd {shlex.quote(project.directory)} && {shlex.join(project.quiet_command)}"
    return line.replace("%", r"\%")  # cron takes a plain % for a line break, in quotes too.
