"""Where this project is, and how to call its command."""

import os
import sys
import unicodedata
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .. import account

# Line breaks would end a cron line half-way, and the others can't be written as text.
_UNWRITABLE = {"Cc", "Cs", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Project:
    """The facts that a schedule needs.

    ``database`` is the alias that was asked for, if any, ``flags`` are further options of the
    command by name, and ``max_seconds`` is that one of them which functions take, too.
    """

    python: str
    manage: tuple[str, ...]
    directory: str
    settings: str
    user: str
    database: str | None = None
    flags: tuple[tuple[str, str], ...] = ()
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        texts = (self.python, *self.manage, self.directory, self.settings, self.database or "")
        for text in (*texts, *(value for _, value in self.flags)):
            if any(unicodedata.category(letter) in _UNWRITABLE for letter in text):
                raise ValueError(f"{text!r} can't be written into a schedule: rename it.")

    @classmethod
    def here(
        cls,
        *,
        database: str | None,
        flags: tuple[tuple[str, str], ...] = (),
        max_seconds: float | None = None,
    ) -> "Project":
        """Return this process's project; raise ValueError if it can't be called from outside."""
        settings = os.environ.get("DJANGO_SETTINGS_MODULE")
        if not settings:
            raise ValueError("A schedule needs a settings module: set DJANGO_SETTINGS_MODULE.")
        script = Path(sys.argv[0])
        directory = _unresolved(script.parent if script.name == "manage.py" else _root(settings))
        manage = directory / "manage.py"
        return cls(
            python=str(_unresolved(Path(sys.executable))),
            # Called by django-admin, say. Like manage.py, `-m django` imports from the directory.
            manage=(str(manage),) if manage.exists() else ("-m", "django"),
            directory=str(directory),
            settings=settings,
            # A name is needed; the web server's user is the best guess.
            user=account.name() or "www-data",
            database=database,
            flags=flags,
            max_seconds=max_seconds,
        )

    @property
    def options(self) -> list[str]:
        """What follows ``manage.py``."""
        database = [f"--database={self.database}"] if self.database else []
        flags = [f"{name}={value}" for name, value in self.flags]
        return ["cleanup_tokens", "--if-due", *database, *flags]

    @property
    def command(self) -> list[str]:
        """The whole command; the settings module has to come from the environment."""
        return [self.python, *self.manage, *self.options]

    @property
    def quiet_command(self) -> list[str]:
        """The whole command, for schedulers that set no environment and mail what is printed."""
        return [*self.command, "-v0", f"--settings={self.settings}"]

    @property
    def arguments(self) -> dict[str, str | float]:
        """What ``tokens.schedule.task.clean_up`` needs to be told."""
        arguments: dict[str, str | float] = {"using": self.database} if self.database else {}
        return (
            arguments if self.max_seconds is None else arguments | {"max_seconds": self.max_seconds}
        )


def _root(settings: str) -> Path:
    """Return the folder from which the settings module is imported."""
    package = settings.partition(".")[0]
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    if spec is not None and spec.has_location and spec.origin:
        return Path(spec.origin).parent
    raise ValueError(
        f"Nobody can tell where {settings} is imported from: call manage.py of the project."
    )


def _unresolved(path: Path) -> Path:
    """Return the absolute path as the user's shell sees it.

    Where a deployment switches a symbolic link (``current`` to the newest release), the schedule
    must name the link. Python knows the working directory only with its links resolved.
    """
    shell, real = Path(os.environ.get("PWD", "")), Path.cwd()
    path = Path(os.path.abspath(path))
    if (
        shell.is_absolute()
        and shell.is_dir()
        and shell.samefile(real)
        and path.is_relative_to(real)
    ):
        return shell / path.relative_to(real)
    return path
