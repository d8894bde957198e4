"""``cleanup_tokens --print-schedule NAME``. (The underscore keeps Django from listing it.)"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tokens.schedule.printed import PIECES, Project

from ..shell import USAGE, answer

NAMES = ", ".join(PIECES)


def say(command: BaseCommand, options: dict[str, Any]) -> None:
    """Answer the piece that was asked for; raise CommandError if there can be none."""
    name = options["print_schedule"]
    if name not in PIECES:
        raise CommandError(
            f"--print-schedule must be one of {NAMES}, not {name!r}.", returncode=USAGE
        )
    try:
        schedule = PIECES[name](Project.here(database=options["database"]))
    except ValueError as error:
        raise CommandError(str(error), returncode=USAGE) from error
    answer(command, {"name": name, "schedule": schedule}, schedule.splitlines(), options)
