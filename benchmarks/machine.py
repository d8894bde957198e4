"""What the figures were measured with."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import databases

_PACKAGES = (
    "Django",
    "djangorestframework",
    "djangorestframework-simplejwt",
    "django-oauth-toolkit",
    "PyJWT",
    "psycopg",
    "PyMySQL",
    "gunicorn",
    "redis",
)
_PROCESSORS = Path("/proc/stat")


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


def processor_time() -> tuple[int, int]:
    """Return how long all processors were busy, and how long they could have been; else zeros."""
    if not _PROCESSORS.exists():
        return 0, 0
    user, nice, system, idle, waiting, *rest = map(
        int, _PROCESSORS.read_text().splitlines()[0].split()[1:9]
    )
    busy = user + nice + system + sum(rest)
    return busy, busy + idle + waiting


def busy_since(before: tuple[int, int]) -> float:
    """Return the share of the time since ``before`` that the processors were busy, 0 to 1."""
    busy, total = (now - then for now, then in zip(processor_time(), before, strict=True))
    return busy / total if total else 0.0


def _shown(load: tuple[float, ...]) -> str:
    return "/".join(f"{value:.1f}" for value in load)
