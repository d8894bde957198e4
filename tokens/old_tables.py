"""The tables of simplejwt's blacklist app, which checks ask too for as long as they are there.

A project that moves from that app leaves its tables behind. What they refuse stays refused from the
first request on, before anything was imported, and while servers of the old version still write to
them. Whether they are there is known to the process: no check looks for them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import OperationalError, ProgrammingError, connections

from . import clock, databases
from .models import BlacklistImport

T = TypeVar("T")

APP = "token_blacklist"
OUTSTANDING = "token_blacklist_outstandingtoken"
BLACKLISTED = "token_blacklist_blacklistedtoken"

# Seconds after which a process that has found the tables looks again.
LOOK_AGAIN = 60.0


@dataclass(frozen=True, slots=True)
class _Found:
    """What a process knows about one schema of a database, and since when."""

    are_there: bool
    are_asked: bool
    at: float


_NOTHING = _Found(are_there=False, are_asked=False, at=0.0)

# By the alias of the database and the schema that its connection uses.
_found: dict[tuple[str, str], _Found] = {}


def are_asked(using: str) -> bool:
    """Return whether a check asks the tables: they are there, and nobody is about to drop them.

    The process looks once, and then every minute while they are there.
    """
    return _know(using).are_asked


def are_there(using: str) -> bool:
    """Return whether the database has the tables. Looks, in one or two statements."""
    return look(using=using).are_there


def may_be_there(using: str) -> bool:
    """Return whether the database had the tables when this process looked last."""
    return _know(using).are_there


def look(*, using: str) -> _Found:
    """Look whether the tables are there.

    Raises databases.UnsupportedDatabase.
    """
    ours = BlacklistImport._meta.db_table
    names = databases.of(connections[using]).visible([OUTSTANDING, BLACKLISTED, ours])
    found = _NOTHING
    if {OUTSTANDING, BLACKLISTED} <= names:
        imports = BlacklistImport.objects.using(using).filter(dropping_since__isnull=False)
        # Before ``migrate`` has made our own tables, nobody can have asked to drop these.
        is_dropped = ours in names and imports.exists()
        found = _Found(are_there=True, are_asked=not is_dropped, at=clock.elapsed())
    if (place := _place(using)) is not None:
        _found[place] = found
    return found


def look_after_migrate(*, using: str, **kwargs: Any) -> None:
    """Look, because the tables may have been made. Whatever else migrates is left in peace."""
    if databases.supports(connections[using]):
        look(using=using)


def forget() -> None:
    """Let this process look again before it next asks."""
    _found.clear()


def asking(ask: Callable[[], T], *, using: str) -> T:
    """Return what ``ask`` returns; ask again if the tables are gone by now.

    In a transaction the error is raised, because it may have ended the transaction. The next check
    looks first.
    """
    try:
        return ask()
    except (ProgrammingError, OperationalError):
        place = _place(using)
        if place is None or not _found.get(place, _NOTHING).are_asked:
            raise
        del _found[place]
        if connections[using].in_atomic_block or are_asked(using):
            raise
        return ask()


def blacklisted(using: str) -> str:
    """Return the query that finds a row if simplejwt blacklisted the jti that is its parameter."""
    name = connections[using].ops.quote_name
    return (
        f"SELECT 1 FROM {name(BLACKLISTED)} old_b JOIN {name(OUTSTANDING)} old_o"  # noqa: S608
        " ON old_o.id = old_b.token_id WHERE old_o.jti = %s"
    )


def outstanding(using: str) -> str:
    """Return the query that finds a row if simplejwt issued the jti that is its parameter."""
    name = connections[using].ops.quote_name
    return f"SELECT 1 FROM {name(OUTSTANDING)} old_o WHERE old_o.jti = %s"  # noqa: S608


def _know(using: str) -> _Found:
    place = _place(using)
    found = None if place is None else _found.get(place)
    if found is None or (found.are_there and clock.elapsed() - found.at > LOOK_AGAIN):
        return look(using=using)
    return found


def _place(using: str) -> tuple[str, str] | None:
    """Return what tells the tables apart that a connection finds, or None if nothing does."""
    schema = databases.of(connections[using]).schema()
    return None if schema is None else (using, schema)
