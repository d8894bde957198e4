"""What ``revoke_tokens`` does for many users: everybody, groups, and those whom a file names."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from .. import databases, mass_logout, sessions, users
from ..formats import count, one_line
from ..schedule.exit_codes import FAILED
from ..sessions import Ended
from .listed import keys_listed_in, source_of
from .revoking import REASON, Result, ask
from .shell import progress
from .users import in_groups, not_staff

People = QuerySet[Any] | list[Any]


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Users of a database, and what they are called: "", or a phrase that begins with a space."""

    people: People
    called: str
    using: str

    def count(self, *, patient: bool) -> Ended:
        """Return how much would end; ``patient`` takes the time for each part of a long list."""
        return mass_logout.count(self.using, people=self.people, patient=patient)

    def end(self, tell: Callable[[Ended], object]) -> Ended:
        return sessions.end_for(self.people, reason=REASON, using=self.using, progress=tell)


class _Everybody(_Crowd):
    """All users, and sessions whose users another database has."""

    def count(self, *, patient: bool) -> Ended:
        return mass_logout.count(self.using)

    def end(self, tell: Callable[[Ended], object]) -> Ended:
        return mass_logout.end_everybody(reason=REASON, using=self.using, progress=tell)


def revoke_all_users(
    command: BaseCommand, using: str, options: dict[str, Any]
) -> tuple[Result, str]:
    everybody = users.everyone(using)
    if options["exclude_staff"]:
        crowd = _Crowd(not_staff(everybody), " who are not staff", using)
    else:
        crowd = _Everybody(everybody, "", using)
    return _revoke(command, crowd, partial(Result, "all_users", None), options)


def revoke_group(command: BaseCommand, using: str, options: dict[str, Any]) -> tuple[Result, str]:
    given = options["group"]
    names = list(dict.fromkeys([given] if isinstance(given, str) else map(str, given)))
    people = in_groups(names, using=using)
    called = f" in the group {one_line(names[0])}"
    if len(names) > 1:
        called = f" in the groups {', '.join(map(one_line, names))}"
    if options["exclude_staff"]:
        people, called = not_staff(people), f"{called} who are not staff"
    crowd = _Crowd(people, called, using)
    return _revoke(command, crowd, partial(Result, "group", ", ".join(names)), options)


def revoke_users_from(
    command: BaseCommand, using: str, options: dict[str, Any]
) -> tuple[Result, str]:
    path = str(options["users_from"])
    called = f" whom {one_line(source_of(path))} names"
    crowd = _Crowd(keys_listed_in(path, using=using), called, using)
    return _revoke(command, crowd, partial(Result, "users_from", path), options)


def _revoke(
    command: BaseCommand, crowd: _Crowd, result_of: Callable[..., Result], options: dict[str, Any]
) -> tuple[Result, str]:
    if options["dry_run"]:
        ended = crowd.count(patient=True)
    else:
        expected = _expected(crowd)
        said = f"all sessions and refuses all tokens of all users{crowd.called}"
        if expected:
            sessions_ = count(expected.sessions, "session")
            many = count(expected.users, "user")
            said = f"{sessions_} and refuses all tokens of {many}{crowd.called}"
        ask(command, f"This ends {said}.", options)
        ended = _end(command, crowd, expected, options)
    result = result_of(
        options["dry_run"], ended.sessions, ended.users, exclude_staff=options["exclude_staff"]
    )
    return result, result.of_users(count(ended.users, "user"))


def _end(
    command: BaseCommand, crowd: _Crowd, expected: Ended | None, options: dict[str, Any]
) -> Ended:
    total = expected.users + expected.sessions if expected else None
    try:
        with progress(command, options, verb="Revoking", total=lambda: total) as advance:
            return crowd.end(lambda ended: advance(ended.users + ended.sessions))
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted. What was revoked stays revoked; run the command again for the rest.",
            returncode=FAILED,
        ) from None


def _expected(crowd: _Crowd) -> Ended | None:
    """Return what will end, or None if it can't be counted in time, which is no reason to wait."""
    try:
        return crowd.count(patient=False)
    except databases.OutOfTime:
        return None
