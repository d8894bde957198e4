"""``call_command``, seen as a shell sees a command."""

import io
from typing import Any

from django.core.management import CommandError, call_command


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def call(command: str, **options: Any) -> tuple[int, str, str]:
    """Call a command; return its exit code, standard output and standard error."""
    out, err = io.StringIO(), options.pop("stderr", io.StringIO())
    try:
        call_command(command, stdout=out, stderr=err, **options)
    except CommandError as error:
        return error.returncode, out.getvalue(), f"{err.getvalue()}{error}"
    return 0, out.getvalue(), err.getvalue()
