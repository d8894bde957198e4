"""For django-crontab: ``CRONJOBS = [("7 * * * *", "tokens.schedule.crontab.tick")]``.

With options of the command: ``("7 * * * *", "tokens.schedule.crontab.tick", [], {"pause": 0.5})``.

django-crontab swallows every exception of a job, even SystemExit, and exits with 0. It does not
catch an exception in its own ``except`` block, where it logs the failure. A filter on its logger
runs in that block, and ends the process with 1.
"""

import logging

from django.core.management import CommandError, call_command

from ...log import logger
from ..exit_codes import ROWS_LEFT


def tick(**options: object) -> None:
    """Clean up if it is due. Prints nothing; if it fails, ``crontab run`` exits with 1.

    Stopping early, for example because of ``max_seconds``, is not a failure: the next tick
    continues. ``options`` are those of ``cleanup_tokens``, as ``call_command`` takes them.
    """
    usual = {"if_due": True, "trigger": "crontab", "verbosity": 0}
    try:
        call_command("cleanup_tokens", **usual | options)
    except BaseException as error:
        if isinstance(error, CommandError) and error.returncode == ROWS_LEFT:
            logger.info(
                "Scheduled token cleanup: %s",
                error,
                extra={"event": "tick_stopped_early", "trigger": usual["trigger"]},
            )
            return
        logger.error(
            "Scheduled token cleanup failed: %s",
            error,
            extra={"event": "tick_failed", "trigger": "crontab", "error": str(error)},
        )
        _fail_the_process(f"cleanup_tokens: {error}")
        raise


class _EndTheProcess(logging.Filter):
    """Raises SystemExit when django-crontab logs the failure, then removes itself."""

    def __init__(self, message: str, log: logging.Logger) -> None:
        super().__init__()
        self._message, self._log = message, log

    def filter(self, record: logging.LogRecord) -> bool:
        self._log.removeFilter(self)
        raise SystemExit(self._message)  # Printed on stderr, with exit code 1; cron mails it.


def _fail_the_process(message: str) -> None:
    log = logging.getLogger("django_crontab.crontab")
    # The record must not be dropped before it reaches the filter.
    log.disabled = False
    log.setLevel(logging.ERROR)
    logging.disable(logging.NOTSET)
    log.addFilter(_EndTheProcess(message, log))
