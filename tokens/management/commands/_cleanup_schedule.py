"""``cleanup_tokens --print-schedule NAME``. (The underscore keeps Django from listing it.)"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tokens.schedule.exit_codes import USAGE
from tokens.schedule.printed import FUNCTIONS, PIECES, Project

from ..shell import answer

NAMES = ", ".join(PIECES)

_FLAGS = ("batch_size", "pause", "max_seconds", "metrics_file")


def say(command: BaseCommand, options: dict[str, Any]) -> None:
    """Answer the piece that was asked for; raise CommandError if there can be none."""
    name = options["print_schedule"]
    if name not in PIECES:
        raise CommandError(
            f"--print-schedule must be one of {NAMES}, not {name!r}.", returncode=USAGE
        )
    given = {option: options[option] for option in _FLAGS if options[option] is not None}
    flags = {"--" + option.replace("_", "-"): str(value) for option, value in given.items()}
    refused = [flag for flag in flags if name in FUNCTIONS and flag != "--max-seconds"]
    if refused:
        raise CommandError(
            f"--print-schedule {name} calls a function, which takes no {refused[0]}.",
            returncode=USAGE,
        )
    try:
        project = Project.here(
            database=options["database"],
            flags=tuple(flags.items()),
            max_seconds=float(given["max_seconds"]) if "max_seconds" in given else None,
        )
        schedule = PIECES[name](project)
    except ValueError as error:
        raise CommandError(str(error), returncode=USAGE) from error
    answer(command, {"name": name, "schedule": schedule}, schedule.splitlines(), options)
