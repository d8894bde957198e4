"""Where this project is, and how to call its command."""

import os
import sys
import unicodedata
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .. import account

# A line break would cut a cron line in two; the others can't be written as text.
_UNWRITABLE = {"Cc", "Cs", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Project:
    """What a schedule needs to know.

    ``options`` are further options of the command, as words.
    """

    python: str
    manage: tuple[str, ...]
    directory: str
    settings: str
    user: str
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in (*self.command, self.directory, self.settings):
            if any(unicodedata.category(letter) in _UNWRITABLE for letter in text):
                raise ValueError(f"{text!r} can't be written into a schedule: rename it.")

    @classmethod
    def here(cls, *options: str) -> "Project":
        """Return this process's project; raise ValueError if a schedule couldn't call it."""
        settings = os.environ.get("DJANGO_SETTINGS_MODULE")
        if not settings:
            raise ValueError("A schedule needs a settings module: set DJANGO_SETTINGS_MODULE.")
        script = Path(sys.argv[0])
        directory = _unresolved(script.parent if script.name == "manage.py" else _root(settings))
        manage = directory / "manage.py"
        return cls(
            python=str(_unresolved(Path(sys.executable))),
            # For django-admin. Like manage.py, `-m django` imports from the directory.
            manage=(str(manage),) if manage.exists() else ("-m", "django"),
            directory=str(directory),
            settings=settings,
            # A name is needed; the web server's user is the best guess.
            user=account.name() or "www-data",
            options=options,
        )

    @property
    def command(self) -> list[str]:
        """The whole command. The environment has to name the settings module."""
        return [self.python, *self.manage, "cleanup_tokens", "--if-due", *self.options]

    @property
    def quiet_command(self) -> list[str]:
        """The whole command, for schedulers that set no environment and mail all output."""
        return [*self.command, "-v0", f"--settings={self.settings}"]


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
        f"Can't find out where {settings} is imported from: use the project's manage.py."
    )


def _unresolved(path: Path) -> Path:
    """Return the absolute path as the user's shell sees it.

    If a deployment switches a symbolic link (``current`` to the newest release), the schedule must
    name the link. Python knows the working directory only with its links resolved.
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
