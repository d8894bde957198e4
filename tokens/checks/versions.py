"""Versions of Python and other packages that are known to break this app, or what it needs."""

import platform
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import django
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.version import get_version_tuple


@dataclass(frozen=True)
class Broken:
    """Versions of ``package`` before ``fixed``; if ``beside`` says so, only beside these others.

    ``beside`` is another package and the first of its versions that breaks. Before version
    ``starts``, the app can't even be imported.
    """

    package: str
    fixed: str
    why: str
    beside: tuple[str, str] | None = None
    starts: str = ""

    def __str__(self) -> str:
        beside = f" with {_named(self.beside[0])}" if self.beside else ""
        return f"{_named(self.package)} is installed{beside}: {self.why}."

    @property
    def hint(self) -> str:
        return f"Upgrade to {self.package} {self.fixed} or later."


# Only what is known to break, or not supported: a new version that nobody has tried is neither. The
# floors of pyproject.toml are here too, because `pip install --no-deps` passes them by.
BROKEN = (
    Broken(
        "Django",
        "5.2",
        "this app is not tested with it, and it gets no security fixes",
        starts="5.1",
    ),
    Broken("Django", "5.2.8", "it does not support this Python", beside=("Python", "3.14")),
    Broken("Python", "3.12", "this Django does not support it", beside=("Django", "6.0")),
    Broken(
        "djangorestframework",
        "3.18.2",
        "a small request can take all memory, at the login too (CVE-2026-114136)",
    ),
    Broken(
        "djangorestframework-simplejwt",
        "5.5.1",
        "it makes tokens for users who are not active (CVE-2024-22513)",
        starts="5.5",
    ),
    Broken(
        "PyJWT",
        "2.13",
        "it accepts tokens that it should refuse (CVE-2026-32597, and the advisories of 2.13.0)",
    ),
)


@register(Tags.compatibility)
def check_versions(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for each combination of installed versions that is known to break."""
    return [
        checks.Warning(str(broken), hint=broken.hint, id="tokens.W038")
        for broken in BROKEN
        if _is_before(broken.package, broken.fixed)
        and (broken.beside is None or _is_from(*broken.beside))
    ]


def refuse_what_cannot_start() -> None:
    """Raise ImproperlyConfigured if a check would come too late to name the version."""
    for broken in BROKEN:
        if broken.starts and _is_before(broken.package, broken.starts):
            raise ImproperlyConfigured(f"{broken} {broken.hint}")


def installed(package: str) -> str | None:
    """Return the version of ``package``, or None if it cannot be told."""
    if package == "Python":
        return platform.python_version()
    if package == "Django":
        return django.get_version()
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _is_before(package: str, version: str) -> bool:
    return () < _parts(installed(package)) < _parts(version)


def _is_from(package: str, version: str) -> bool:
    return _parts(installed(package)) >= _parts(version)


def _parts(version: str | None) -> tuple[int, ...]:
    """Return the leading numbers of a version. A pre-release counts as its release."""
    parts = list(get_version_tuple(version or ""))
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _named(package: str) -> str:
    return f"{package} {installed(package)}"
