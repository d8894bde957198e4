"""A line for ``crontab -e``, and a file for ``/etc/cron.d``."""

import shlex

from .project import Project

_ABOUT = """\
# It runs hourly and cleans up if TOKENS_CLEANUP_INTERVAL says it is due. It prints nothing
# unless it fails, or stops early with rows left.
# cron passes no environment: the settings must read their secrets from a file, for example.
# Check it an hour later: manage.py cleanup_tokens --check
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
# Save this as /etc/cron.d/tokens-cleanup (no dot in the name), owned by root, mode 644.
# The sixth word is the user: the one who runs the site, preferably not root.
{_ABOUT}7 * * * * {project.user} {_line(project)}
"""


def _line(project: Project) -> str:
    line = f"cd {shlex.quote(project.directory)} && {shlex.join(project.quiet_command)}"
    return line.replace("%", r"\%")  # cron takes a plain % for a line break, even in quotes.
