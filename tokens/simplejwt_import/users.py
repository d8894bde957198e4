"""Delete users while simplejwt's tables are there and its app is gone.

Django no longer knows the foreign key from those tables to the users, and the database insists.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections

from .. import old_tables

_MOST = 500


def forget_users(pks: Iterable[Any], *, using: str) -> None:
    """Let simplejwt's tables forget these users, in the transaction that deletes them.

    Takes no statement unless the tables are there, and then a constant number for each 500 users.
    The tokens stay, as they do if simplejwt's app is installed: they are refused all the same.
    """
    if not old_tables.may_be_there(using) or not old_tables.are_there(using):
        return
    connection = connections[using]
    field, table = get_user_model()._meta.pk, connection.ops.quote_name(old_tables.OUTSTANDING)
    values = [field.get_db_prep_value(pk, connection) for pk in pks]
    for start in range(0, len(values), _MOST):
        part = values[start : start + _MOST]
        marks = ", ".join(["%s"] * len(part))
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {table} SET user_id = NULL WHERE user_id IN ({marks})",  # noqa: S608
                part,
            )
