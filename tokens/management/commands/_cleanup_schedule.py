"""``cleanup_tokens --print-schedule NAME``. (The underscore keeps Django from listing it.)"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tokens.schedule.exit_codes import USAGE
from tokens.schedule.printed import PAGES, PIECES, Project

from ..shell import answer

NAMES = ", ".join(PIECES)

# The options that become part of the schedule.
_OPTIONS = ("database", "batch_size", "pause", "max_seconds", "metrics_file")


def say(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print the schedule; raise CommandError if the name is unknown or a path can't be written."""
    name = options["print_schedule"]
    if name in PAGES:
        raise CommandError(
            f"--print-schedule prints {NAMES}. The documentation has a snippet for {name}:"
            f" {PAGES[name]}",
            returncode=USAGE,
        )
    if name not in PIECES:
        raise CommandError(
            f"--print-schedule must be one of {NAMES}, not {name!r}.", returncode=USAGE
        )
    given = {option: options[option] for option in _OPTIONS if options[option] is not None}
    words = [f"--{option.replace('_', '-')}={value}" for option, value in given.items()]
    try:
        schedule = PIECES[name](Project.here(*words))
    except ValueError as error:
        raise CommandError(str(error), returncode=USAGE) from error
    # An escape in a path would make it another path.
    answer(
        command,
        {"name": name, "schedule": schedule},
        schedule.splitlines(),
        options,
        must_arrive=True,
        exactly=True,
    )
