"""What databases say, and what the app says about them."""

from django.db import NotSupportedError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper


class UnsupportedDatabase(NotSupportedError):
    """The app has no SQL for this database. The message names it, and those that are supported."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        engine = connection.settings_dict["ENGINE"]
        super().__init__(
            f"The database {connection.alias!r} ({connection.vendor}, by {engine}) is not"
            " supported. Supported are SQLite, PostgreSQL, MariaDB and MySQL."
        )


class OutOfTime(OperationalError):
    """A question took longer than it may, or longer than a lock is waited for."""


def error_code(error: BaseException) -> str | int | None:
    """Return the SQLSTATE of PostgreSQL, or the error number of MariaDB or MySQL, for any driver.

    ``error`` is Django's or the driver's. None if the error did not come from the server.
    """
    # First the number: PyMySQL has a SQLSTATE as well, which is the same for many errors.
    if error.args and isinstance(error.args[0], int):
        return error.args[0]
    for one in (error, error.__cause__):
        # psycopg 3 has the first, psycopg2 the second.
        if state := getattr(one, "sqlstate", None) or getattr(one, "pgcode", None):
            return str(state)
    return None
