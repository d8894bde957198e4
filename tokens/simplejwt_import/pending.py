"""What is left to do before simplejwt's tables can go."""

from dataclasses import dataclass

from django.db.models import Q

from .. import clock, old_tables
from ..conf import conf
from ..models import BlacklistImport
from ..querysets import oldest_in_force
from .tables import Blacklisted


@dataclass(frozen=True, slots=True)
class Pending:
    """Whether the tables are there, and an import is on record that has read all of them.

    ``in_force`` is whether a row that no import has read may still refuse a token.
    """

    tables: bool = False
    imported: bool = False
    added_since: bool = False
    in_force: bool = False


def pending(using: str) -> Pending:
    """Return what is left to do in the database ``using``. A few statements."""
    if not old_tables.are_there(using):
        return Pending()
    last = newest(using)
    unread = Blacklisted.objects.using(using).filter(pk__gt=last.last_blacklisted if last else 0)
    oldest = oldest_in_force()
    in_force = Q(token__expires_at__gte=oldest)
    if (longest := conf.TOKENS_LONGEST_LIFETIME) is not None:
        begun = oldest - min(longest, oldest - clock.from_epoch(0))
        in_force |= Q(token__created_at__gte=begun)
    else:
        in_force = Q()
    return Pending(
        tables=True,
        imported=last is not None,
        added_since=last is not None and unread.exists(),
        in_force=unread.filter(in_force).exists(),
    )


def newest(using: str) -> BlacklistImport | None:
    """Return the import that finished last, or None."""
    return BlacklistImport.objects.using(using).order_by("pk").last()
