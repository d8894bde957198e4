"""A move from simplejwt's blacklist that is not finished."""

import sys
from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections

from .. import simplejwt_import
from ..blacklist import database
from ..databases import supports
from ..models import BlacklistImport


@register(Tags.database)
def check_import(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return an Error if simplejwt's tables refuse tokens that no import has read.

    ``migrate`` and ``check --database`` ask.
    """
    using = database()
    return _unread(using) if using in (databases or ()) else []


@register(Tags.security)
def check_import_by_hand(**kwargs: Any) -> list[CheckMessage]:
    """Return the same to ``manage.py check``, if the database can be read.

    No other command looks: an Error would stop it, and until the import checks ask the old tables.
    """
    # Not by ``databases``: from 6.1 on, Django names all of them to each check.
    names_database = any(word.startswith("--da") for word in sys.argv[2:])
    if sys.argv[1:2] != ["check"] or names_database:
        return []
    try:
        return _unread(database())
    except DatabaseError:
        return []


def _unread(using: str) -> list[CheckMessage]:
    connection = connections[using]
    if not supports(connection):
        return []
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    # Before the first ``migrate``, nothing could be imported.
    if BlacklistImport._meta.db_table not in names:
        return []
    found = simplejwt_import.pending(using)
    if not found.in_force:
        return []
    return [
        Error(
            "simplejwt's tables refuse tokens that were not imported."
            if not found.imported
            else "simplejwt has blacklisted tokens since the last import.",
            hint="Once the last server with simplejwt's blacklist app has stopped, run: python"
            " manage.py import_simplejwt_blacklist. Until then, checks ask the old tables too.",
            id="tokens.E029",
        )
    ]
