"""What the figures were measured with."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

from benchmarks import databases

_PACKAGES = ("Django", "djangorestframework", "djangorestframework-simplejwt", "PyJWT", "gunicorn")


def describe(command: str, load_before: tuple[float, ...]) -> dict[str, str]:
    """Return facts about the machine, the software and the moment; nothing that names a host."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    software = [f"Python {platform.python_version()}"]
    software += [f"{package} {version(package)}" for package in _PACKAGES]
    servers = [f"{name} {databases.version(name)}" for name in databases.available()]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "machine": (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
            f" {memory / 2**30:.0f} GB; clients, server and databases share it"
        ),
        "software": ", ".join(software),
        "databases": ", ".join(servers),
        "load average before and after": f"{_shown(load_before)} and {_shown(os.getloadavg())}",
    }


def _shown(load: tuple[float, ...]) -> str:
    return "/".join(f"{value:.1f}" for value in load)
