"""End the sessions of many users at once: everybody's, or those of users who are deleted.

Everybody's end in short transactions while users log in, and that needs the same memory for ten
users and ten million.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import QuerySet

from . import blacklist, databases, retry, sessions, users
from .conf import simplejwt
from .models import BlacklistEntry, TokenSession
from .querysets import SessionQuerySet
from .sessions import Ended

Reason = BlacklistEntry.Reason

# The values of a statement: the users it names, and room for what else it says.
PARAMETERS = 10_000
OTHER_PARAMETERS = 100

SESSIONS_IN_BATCH = 5_000
USERS_IN_BATCH = 500

# How long somebody waits for the numbers before everybody's logins end.
COUNT_SECONDS = 5.0


def count(
    using: str,
    *,
    people: QuerySet[Any] | Sequence[Any] | None = None,
    seconds: float = COUNT_SECONDS,
    patient: bool = False,
) -> Ended:
    """Return what ``end_everybody`` would end, or what ``sessions.end_for`` would for ``people``.

    ``people`` is a queryset or primary keys, each once. ``patient`` gives each part of a sequence
    of keys the time that otherwise all has. Raises databases.OutOfTime, a database error, if
    counting takes longer than ``seconds``.
    """
    questions = databases.questions(using, seconds=seconds)
    rows = TokenSession.objects.using(using)
    if people is None:
        number = questions.must_ask(users.everyone(using).count)
        return Ended(questions.must_ask(rows.count), number)
    if isinstance(people, QuerySet):
        number = questions.must_ask(people.count)
        return Ended(questions.must_ask(rows.filter(user__in=people.values("pk")).count), number)
    ended = Ended()
    for start in range(0, len(people), USERS_IN_BATCH):
        part = people[start : start + USERS_IN_BATCH]
        if patient:
            questions = databases.questions(using, seconds=seconds)
        ended += Ended(questions.must_ask(rows.filter(user__in=part).count), len(part))
    return ended


def end_everybody(
    *,
    reason: str,
    using: str | None = None,
    progress: Callable[[Ended], object] = lambda _batch: None,
) -> Ended:
    """End all sessions and refuse all tokens that were issued until now; return how many.

    A session that starts meanwhile may survive. If this is interrupted, finished batches stay
    done, and you can call it again. It calls ``progress`` with what each batch ended.
    """
    using = using or blacklist.database()
    number_of_users = number_of_sessions = 0
    # Users first: from then on no token without ``sid`` can become a session.
    for number in _refuse_users(using, reason):
        number_of_users += number
        progress(Ended(users=number))
    for number in _end_sessions(using, reason):
        number_of_sessions += number
        progress(Ended(sessions=number))
    return Ended(number_of_sessions, number_of_users)


@retry.lost_races
def end_deleted(pks: Sequence[Any], *, users_in: str) -> None:
    """End the sessions of users who are about to be deleted from the database ``users_in``.

    Takes a few statements for each PARAMETERS users, all in one transaction. Users who never
    logged in leave no entry: the missing user refuses tokens without ``sid``, unless the project's
    requests don't read the user.
    """
    using = blacklist.database()
    limit = databases.of(connections[using]).max_parameters() - OTHER_PARAMETERS
    size = min(limit, PARAMETERS)
    stateless, fields = not users.are_local(), _fields_of_deleted()
    with transaction.atomic(users_in, savepoint=False), transaction.atomic(using, savepoint=False):
        for start in range(0, len(pks), size):
            part = pks[start : start + size]
            found = users.read_all_locked(part, *fields, using=using, users_in=users_in)
            theirs = TokenSession.objects.using(using).filter(user__in=part)
            had_session = set(theirs.order_by().values_list("user", flat=True).distinct())
            if had_session:
                sessions.end_many(theirs, reason=Reason.DELETION, using=using)
            pairs = (
                (pk, str(user_id))
                for pk, user_id, *logged_in in found
                if stateless or pk in had_session or any(logged_in)
            )
            blacklist.revoke_users(pairs, reason=Reason.DELETION, using=using)
            sessions.again_after_commit(_OfDeleted(part, using), using=using)


class _OfDeleted(sessions.Repeatable):
    """The sessions of deleted users that began on another node of a cluster meanwhile."""

    def __init__(self, pks: Sequence[Any], using: str) -> None:
        super().__init__(pks)
        self.using = using

    def __call__(self) -> None:
        theirs = TokenSession.objects.using(self.using).filter(user__in=self.user_pks)
        sessions.end_many(theirs, reason=Reason.DELETION, using=self.using)


def _fields_of_deleted() -> list[str]:
    """Return the names of key, id and, if the model has it, last login of users."""
    names = {field.name for field in get_user_model()._meta.get_fields()}
    return ["pk", simplejwt.USER_ID_FIELD, *names.intersection({"last_login"})]


def _refuse_users(using: str, reason: str) -> Iterator[int]:
    rest = users.everyone(using)

    def refuse_batch(_attempt: int) -> list[tuple[Any, ...]]:
        batch = users.read_locked(rest, "pk", simplejwt.USER_ID_FIELD, limit=USERS_IN_BATCH)
        pairs = ((pk, str(user_id)) for pk, user_id in batch)
        blacklist.revoke_users(pairs, reason=reason, using=using)
        return batch

    while batch := retry.write(refuse_batch, using=using):
        yield len(batch)
        rest = users.everyone(using).filter(pk__gt=batch[-1][0])


def _end_sessions(using: str, reason: str) -> Iterator[int]:
    """End the sessions that exist now, in ranges of ids, which grow with time."""
    rest = TokenSession.objects.using(using).order_by("sid")
    newest = rest.values_list("sid", flat=True).last()
    if newest is None:
        return
    rest = rest.filter(sid__lte=newest)
    end = None
    while end != newest:
        last = SESSIONS_IN_BATCH - 1
        end = rest.values_list("sid", flat=True)[last : last + 1].first() or newest
        batch = rest.filter(sid__lte=end)
        yield retry.write(partial(_end_batch, batch, reason=reason, using=using), using=using)
        rest = rest.filter(sid__gt=end)


def _end_batch(rows: SessionQuerySet, _attempt: int, *, reason: str, using: str) -> int:
    return sessions.end_many(rows, reason=reason, using=using)
