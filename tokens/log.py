"""The logger ``tokens``, which never decides how the work ends that it tells about.

A handler of the project's may raise: it writes to a database that is down, or to a full disk. What
it was told has happened all the same.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_logger = logging.getLogger("tokens")
_last_resort = logging.Handler()


class Log:
    """The methods of a logger that the app uses. What a handler raises goes to standard error."""

    def writes(self, level: int) -> bool:
        """Return whether a record of this level is written anywhere."""
        return _logger.isEnabledFor(level)

    def debug(self, message: str, *arguments: object, **more: Any) -> None:
        _write(logging.DEBUG, message, arguments, more)

    def info(self, message: str, *arguments: object, **more: Any) -> None:
        _write(logging.INFO, message, arguments, more)

    def warning(self, message: str, *arguments: object, **more: Any) -> None:
        _write(logging.WARNING, message, arguments, more)

    def error(self, message: str, *arguments: object, **more: Any) -> None:
        _write(logging.ERROR, message, arguments, more)

    def log(self, level: int, message: str, *arguments: object, **more: Any) -> None:
        _write(level, message, arguments, more)

    def exception(self, message: str, *arguments: object, **more: Any) -> None:
        _write(logging.ERROR, message, arguments, {"exc_info": True} | more)


logger = Log()


@contextmanager
def only_informs(what: str) -> Iterator[None]:
    """Let an exception in the block go no further than to standard error, with ``what`` failed."""
    try:
        yield
    except Exception:  # noqa: BLE001 (whatever it is, the work is done)
        _complain(logging.ERROR, what, ())


def _write(level: int, message: str, arguments: tuple[object, ...], more: dict[str, Any]) -> None:
    try:
        # Our caller's caller is the one who has something to say.
        _logger.log(level, message, *arguments, stacklevel=3, **more)
    except Exception:  # noqa: BLE001
        _complain(level, message, arguments)


def _complain(level: int, message: str, arguments: tuple[object, ...]) -> None:
    """Do as handlers of the standard library do that fail, which a closed stream may prevent."""
    record = _logger.makeRecord("tokens", level, __file__, 0, message, arguments, None)
    with suppress(ValueError):
        _last_resort.handleError(record)
