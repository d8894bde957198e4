"""Who runs this process."""

import os


def name() -> str | None:
    """Return the name of the user who runs this process, or None if the system knows none.

    Containers often run under a number without a name.
    """
    try:
        import pwd
    except ImportError:  # Windows
        return os.environ.get("USERNAME", "")
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return None
