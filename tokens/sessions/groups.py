"""End the sessions of many users, in short transactions and flat memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Count

from .. import blacklist, retry, users
from ..conf import simplejwt
from . import clusters, members
from .ending import Reason, end_many, rows_of

T = TypeVar("T")

# A batch has fewer users if these have more sessions, unless it is down to one user.
USERS_IN_BATCH = 500
SESSIONS_IN_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Ended:
    """How many sessions ended, and of how many users the tokens are refused."""

    sessions: int = 0
    users: int = 0

    def __add__(self, other: "Ended") -> "Ended":
        return Ended(self.sessions + other.sessions, self.users + other.users)


def end_for(
    people: Iterable[Any],
    *,
    reason: str = Reason.LOGOUT_ALL,
    using: str | None = None,
    progress: Callable[[Ended], object] | None = None,
) -> Ended:
    """Log all these users out everywhere, as ``end_all`` does with one; return how many.

    ``people`` is a queryset of users, or anything that yields users or primary keys. A queryset is
    read in batches, so a million users take no more memory than a thousand, unless it is sliced, a
    union, or ``distinct`` by fields: then its keys are read at once. What yields a user twice may
    count that user twice. Who is no user any more doesn't count.

    The number of statements of a batch is constant. Each batch is a transaction of its own, and
    transient errors of the database are tried again: if this is interrupted, finished batches stay
    done. In a transaction of the caller's, all batches belong to that.

    Calls ``progress``, if any, with what each batch ended. Raises TypeError if ``people`` yields
    anything else, before the batch that has it.
    """
    total = Ended()
    for ended in ended_in_batches(people, reason=reason, using=using):
        total += ended
        if progress:
            progress(ended)
    return total


def ended_in_batches(
    people: Iterable[Any], *, reason: str, using: str | None = None
) -> Iterator[Ended]:
    """Do what ``end_for`` does; yield what each batch ended, once that is committed."""
    users_in = using or users.database()
    using = using or blacklist.database()
    for pks in members.batches(people, size=USERS_IN_BATCH, read=_tried_again):
        for part in _parts(pks, using):
            yield _end_batch(part, reason=reason, using=using, users_in=users_in)


def _parts(pks: Sequence[Any], using: str) -> Iterator[list[Any]]:
    """Split the users, so that no part has more than SESSIONS_IN_BATCH sessions if it has two."""
    rows = rows_of(using).filter(user__in=pks).order_by().values_list("user")
    numbers = _tried_again(lambda: dict(rows.annotate(Count("pk"))), using)
    part, size = list[Any](), 0
    for pk in pks:
        number = numbers.get(pk, 0)
        if part and size + number > SESSIONS_IN_BATCH:
            yield part
            part, size = [], 0
        part.append(pk)
        size += number
    yield part


def _end_batch(pks: Sequence[Any], *, reason: str, using: str, users_in: str) -> Ended:
    def end() -> _Ending:
        ending = _Ending(pks, reason=reason, using=using, users_in=users_in)
        ending()
        clusters.again_after_commit(ending, using=using)
        return ending

    return _tried_again(end, using).ended


def _tried_again(work: Callable[[], T], using: str) -> T:
    """Return what ``work`` returns, after its commit unless the caller is in a transaction."""
    if retry.in_transaction():
        return work()
    return retry.write(lambda _attempt: work(), using=using)


class _Ending(clusters.Repeatable):
    """The end of all sessions of these users; each call ends those that are there."""

    def __init__(self, pks: Iterable[Any], *, reason: str, using: str, users_in: str) -> None:
        super().__init__(pks)
        self.reason, self.using, self.users_in = reason, using, users_in
        self.ended = Ended()

    def __call__(self) -> None:
        ended = self._end()
        self.ended = Ended(self.ended.sessions + ended.sessions, ended.users)

    @retry.lost_races
    def _end(self) -> Ended:
        with transaction.atomic(self.using):
            fields = "pk", simplejwt.USER_ID_FIELD
            found = users.read_all_locked(
                self.user_pks, *fields, using=self.using, users_in=self.users_in
            )
            pairs = ((pk, str(user_id)) for pk, user_id in found)
            blacklist.revoke_users(pairs, reason=self.reason, using=self.using)
            rows = rows_of(self.using).filter(user__in=self.user_pks)
            if self.kept:
                rows = rows.exclude(sid__in=self.kept)
            return Ended(end_many(rows, reason=self.reason, using=self.using), len(found))
