"""Many entries: a snapshot reads each of them once, and misses none that comes late.

``Elsewhere`` is the snapshot of another process: it hears of nothing that this one revokes.
"""

import os
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import connection, connections, transaction

from tokens import blacklist, clock, sessions, snapshot
from tokens.claims import Claims
from tokens.jwt import RefreshToken
from tokens.keys import fingerprint
from tokens.models import BlacklistEntry
from tokens.snapshot import Clocks, DatabaseSnapshot, Limits, recent
from tokens.snapshot.keyset import KeySet
from tokens.snapshot.loader import Loader
from tokens.snapshot.snapshot import Load, Snapshot

from .processes import PATIENCE
from .test_snapshot import make_claims, revoke, revoked_elsewhere
from .threads import at_once, each_at_once

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


class Elsewhere:
    """Another process's snapshot, and from when on each of its loads has read."""

    def __init__(self, *, fast: timedelta = timedelta(0), **limits: float) -> None:
        """``fast`` is how far its host's clock is ahead of the database's."""
        changed = replace(Limits(), **{"slice": 2, **limits})  # type: ignore[arg-type]
        clocks = Clocks(wall=lambda: time.time() + fast.total_seconds())
        self.known = DatabaseSnapshot("default", limits=changed, read=self._read, clocks=clocks)
        self.loads: list[datetime] = []
        self.ahead = timedelta(0)  # how far the database's clock seems to be

    def _read(self, *asked: Any) -> recent.RecentEntries:
        self.loads.append(asked[1])
        found = recent.read(*asked)
        return replace(found, now=found.now + self.ahead)

    def ask(self, claims: Claims) -> bool | None:
        return self.known.refuses(claims, 100.0)

    def reload(self) -> None:
        self.known.current.distrust()
        until = time.monotonic() + PATIENCE
        while self.known.current.snapshot is None:
            assert time.monotonic() < until
            self.ask(make_claims())
            time.sleep(0.001)


@pytest.fixture
def old() -> list[Claims]:
    """More entries than a load reads again, made a minute ago."""
    many = [make_claims() for _ in range(5)]
    for claims in many:
        revoked_elsewhere(claims, created_at=clock.now() - MINUTE)
    return many


@pytest.fixture
def elsewhere(old: list[Claims]) -> Elsewhere:
    """A process that has read the old entries and keeps them."""
    process = Elsewhere()
    process.reload()
    process.reload()
    return process


def test_old_entries_are_read_once(old: list[Claims]) -> None:
    patience = 50  # seconds: less than a minute, and a busy machine must load meanwhile
    elsewhere = Elsewhere(patience=patience)
    elsewhere.reload()
    elsewhere.reload()
    late = make_claims()
    revoked_elsewhere(late, created_at=clock.now() - timedelta(seconds=patience / 5))
    for _ in range(3):
        elsewhere.reload()
        assert elsewhere.ask(late) is True
        assert elsewhere.ask(make_claims()) is False
        assert all(elsewhere.ask(claims) is not False for claims in old)
    first, *others = elsewhere.loads
    assert all(one - first > 10 * MINUTE for one in others)


def test_few_entries_are_all_read_each_time(old: list[Claims]) -> None:
    process = Elsewhere(slice=6)
    for _ in range(3):
        process.reload()
        assert all(process.ask(claims) for claims in old)
    assert max(process.loads) - min(process.loads) < 5 * MINUTE


def test_a_load_of_few_and_one_of_many_cost_as_many_statements(
    old: list[Claims], statements: Callable[[], Any]
) -> None:
    costs = []
    for slice_ in (6, 2):
        process = Elsewhere(slice=slice_)
        process.reload()
        process.reload()
        with statements() as ran:
            process.reload()
        costs.append(len([one for one in ran if one.startswith("SELECT")]))
    assert costs == [2, 2] or connection.vendor == "sqlite"  # whose connection is another one


def test_more_at_once_than_fit_leave_no_gap_that_is_taken_for_good(old: list[Claims]) -> None:
    process, many = Elsewhere(entries=6), [make_claims() for _ in range(12)]
    process.reload()
    process.reload()
    for claims in many:
        revoke(claims)
    process.reload()
    early = clock.now() - 4 * MINUTE
    before = [replace(claims, issued_at=early) for claims in (*old, *many)]
    assert all(process.ask(claims) is not False for claims in before)
    assert [process.ask(claims) for claims in many[-6:]] == [True] * 6


# What was unrevoked, extended, or cleaned up


def test_the_database_is_asked_whether_an_old_entry_is_still_there(
    elsewhere: Elsewhere, old: list[Claims], user: AbstractUser
) -> None:
    one, *others = old
    assert elsewhere.ask(one) is None
    blacklist.unrevoke(BlacklistEntry.objects.filter(key=one.sid), by=user)
    assert elsewhere.ask(one) is None, "as before"
    assert not blacklist.is_revoked(one)
    assert all(blacklist.is_revoked(claims) for claims in others)


def test_what_is_unrevoked_while_it_is_young_is_accepted_after_the_next_load(
    elsewhere: Elsewhere, user: AbstractUser
) -> None:
    claims = make_claims()
    revoke(claims)
    elsewhere.reload()
    assert elsewhere.ask(claims) is True
    blacklist.unrevoke(BlacklistEntry.objects.filter(key=claims.sid), by=user)
    elsewhere.reload()
    assert elsewhere.ask(claims) is not True


def test_an_old_entry_that_is_extended_goes_on_refusing(
    elsewhere: Elsewhere, old: list[Claims]
) -> None:
    for claims in old:
        blacklist.revoke_session(
            claims.sid or "", expires_at=claims.expires_at + timedelta(days=300)
        )
    elsewhere.reload()
    assert all(elsewhere.ask(claims) is not False for claims in old)


def test_the_cleanup_leaves_what_still_refuses(elsewhere: Elsewhere, old: list[Claims]) -> None:
    gone, *others = old
    BlacklistEntry.objects.filter(key=gone.sid).update(expires_at=clock.now() - 10 * MINUTE)
    call_command("cleanup_tokens", verbosity=0)
    assert BlacklistEntry.objects.count() == len(others)
    elsewhere.reload()
    assert all(elsewhere.ask(claims) is not False for claims in old)
    assert all(blacklist.is_revoked(claims) for claims in others)


# Clocks that differ


def _end_all(claims: Claims, user: AbstractUser) -> None:
    sessions.end_all(user)


def _end_by_id(claims: Claims, user: AbstractUser) -> None:
    sessions.end_by_ids([uuid.UUID(claims.sid)], reason="logout")


def _by_hand(claims: Claims, user: AbstractUser) -> None:
    BlacklistEntry.objects.create(
        key=uuid.UUID(claims.sid), scope="session", subject="x", expires_at=claims.expires_at
    )


@pytest.mark.parametrize(
    "minutes",
    [-60, 4, *(pytest.param(some, marks=pytest.mark.any_database) for some in (-4, 60))],
)
@pytest.mark.parametrize(
    "write",
    [
        *(lambda claims, _user: revoke(claims), lambda claims, _user: sessions.end(claims)),
        lambda claims, _user: blacklist.revoke_token(claims),
        *(_end_all, _end_by_id, _by_hand),
    ],
    ids=["session", "end", "token", "everywhere", "by id", "by hand"],
)
def test_an_entry_of_a_host_whose_clock_is_wrong_is_not_missed(
    write: Callable[[Claims, AbstractUser], object],
    minutes: int,
    elsewhere: Elsewhere,
    user: AbstractUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claims = RefreshToken.for_user(user).access_token.claims
    right = clock.now
    before = right()
    wrong = before + minutes * MINUTE
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: wrong)
        write(claims, user)
    newest = BlacklistEntry.objects.latest("created_at").created_at
    assert before - MINUTE / 2 < newest < right() + MINUTE / 2
    elsewhere.reload()
    assert elsewhere.ask(claims) is True
    assert elsewhere.loads[-1] - elsewhere.loads[0] > 10 * MINUTE, "it has not read all again"


@pytest.mark.parametrize("slice_", [2, 10_000], ids=["many", "few"])
@pytest.mark.parametrize("minutes", [4, 60, 60 * 24 * 400])
def test_a_host_whose_clock_is_fast_misses_nothing(
    minutes: int, slice_: int, old: list[Claims]
) -> None:
    """As in a test of somebody's project that travels in time."""
    fast = minutes * MINUTE
    process = Elsewhere(fast=fast, slice=slice_)
    for _ in range(3):
        process.reload()
        claims = make_claims()
        revoke(claims)
        process.reload()
        for one in (claims, *old):
            late = replace(one, issued_at=one.issued_at + fast, expires_at=one.expires_at + fast)
            assert process.ask(late) is not False


def test_an_entry_that_is_given_a_moment_keeps_it() -> None:
    moment = clock.now() - MINUTE
    entry = BlacklistEntry(key=uuid.uuid4(), scope="session", subject="x", created_at=moment)
    entry.expires_at = clock.now() + MINUTE
    entry.save()
    assert BlacklistEntry.objects.get().created_at == moment


@pytest.mark.parametrize("hours", [1, 24])
def test_the_clock_of_a_database_that_is_set_back_makes_a_load_read_all(
    hours: int, old: list[Claims]
) -> None:
    """Or that of a server that takes over."""
    process = Elsewhere()
    process.ahead = timedelta(hours=hours)
    process.reload()
    process.reload()
    claims = make_claims()
    revoke(claims)
    process.ahead = timedelta(0)
    process.reload()
    assert process.ask(claims) is True
    assert all(process.ask(one) for one in old)
    assert process.loads[-1] - process.loads[0] < 5 * MINUTE


def test_the_clock_of_a_database_may_be_set_back_little_by_little(old: list[Claims]) -> None:
    process = Elsewhere()
    for seconds in (9, 9, 7, 5, 3, 1, 0):
        process.ahead = timedelta(seconds=seconds)
        process.reload()
    claims = make_claims()
    revoke(claims)
    process.reload()
    assert process.ask(claims) is True
    assert process.loads[-1] - process.loads[0] > 10 * MINUTE, "it has not read all again"


# Late commits


@pytest.mark.parametrize("seconds", [0.25, pytest.param(0.7, marks=pytest.mark.thorough), 1.5])
def test_a_transaction_that_is_committed_late_is_not_missed(
    seconds: float, old: list[Claims], user: AbstractUser
) -> None:
    snapshot.reset(DatabaseSnapshot("default", limits=replace(Limits(), patience=0.5)))
    process = Elsewhere(patience=0.5)
    process.reload()
    by_key = RefreshToken.for_user(user).access_token.claims
    everywhere = RefreshToken.for_user(user).access_token.claims

    def reloaded() -> bool | None:
        process.reload()
        return process.ask(by_key)

    with transaction.atomic():
        blacklist.revoke_token(by_key)
        sessions.end_all(user)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert at_once(1, reloaded) == [False]
    process.reload()
    assert process.ask(by_key) is True
    assert process.ask(everywhere) is True
    assert process.loads[-1] - process.loads[0] > 10 * MINUTE
    snapshot.reset()


def test_an_entry_that_is_moved_up_slowly_is_moved_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It gets the moment when the statement begins, and may wait for a lock then."""
    moved, waits = [], [0.2, 0.0]
    at = clock.elapsed()
    monkeypatch.setattr(clock, "elapsed", lambda: at)

    def move_up() -> None:
        nonlocal at
        moved.append(at)
        at += waits.pop(0)

    late = snapshot.Revocation("default", begun=at - 1, tell=lambda: None, move_up=move_up)
    late.patience = 0.3
    late()
    assert len(moved) == 2


# Threads and processes


def test_threads_never_see_less_than_was_there(old: list[Claims]) -> None:
    process, more = Elsewhere(part=8), [make_claims() for _ in range(30)]
    process.reload()
    revoked: list[Claims] = []

    def write() -> None:
        for claims in more:
            revoke(claims)
            process.reload()
            revoked.append(claims)

    def check() -> int:
        chance, wrong = random.Random(1), 0  # noqa: S311 (no secret)
        while len(revoked) < len(more):
            claims = chance.choice([*old, *revoked])
            wrong += process.ask(claims) is False
            time.sleep(0.0005)
        return wrong

    _, *wrong = each_at_once([write, check, check, check])
    assert wrong == [0, 0, 0]
    process.known.current.last = None
    process.reload()
    assert all(process.ask(claims) for claims in [*old, *more])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_goes_on_with_what_its_parent_has_read(
    elsewhere: Elsewhere, old: list[Claims]
) -> None:
    claims = make_claims()
    revoke(claims)
    connections.close_all()
    child = os.fork()
    if not child:  # pragma: no cover (another process)
        code = 1
        try:
            elsewhere.known.renew()
            elsewhere.reload()
            read_again = elsewhere.loads[-1] - elsewhere.loads[0] < 5 * MINUTE
            refused = [elsewhere.ask(one) for one in (claims, *old)]
            code = 2 if read_again else 0 if refused == [True, *[None] * 5] else 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_load_that_hung_takes_nothing_away(old: list[Claims]) -> None:
    """What began earlier is installed last, and the next load goes on from there."""
    process = Elsewhere()
    process.reload()
    loader, current = process.known._loader, process.known.current
    hung = loader.load(connection, current.last, 100.0)
    one, other = make_claims(), make_claims()
    revoke(one)
    process.reload()
    current.install(hung, current.generation)
    assert process.ask(one) is True
    revoke(other)
    process.reload()
    assert [process.ask(claims) for claims in (one, other)] == [True, True]


# Any course of events


class Course:
    """A table whose rows are committed some time after they get their moments."""

    LIMITS = Limits(slice=6, part=30, entries=400, patience=4.0)

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 (no secret)
        self.now = time.time()
        self.rows: list[tuple[float, float, Claims]] = []  # made, committed, what it refuses
        self.loader = Loader(self.LIMITS, Clocks(lambda: self.now, lambda: self.now), self.read)
        self.load: Load | None = None
        self.read_rows = 0

    def revoke(self) -> None:
        takes = self.chance.choice([0.0, 0.1, 1.9, 3.0, 20.0])
        made, committed = self.now, self.now + takes
        if takes > self.LIMITS.patience / 2:
            made = committed  # it gets the present moment after the commit
        issued = datetime.fromtimestamp(committed - self.chance.uniform(0, 299), UTC)
        claims = make_claims(issued_at=issued, expires_at=issued + 5 * MINUTE)
        self.rows.append((made, committed, claims))

    def read(self, _connection: Any, since: datetime, limits: Limits) -> recent.RecentEntries:
        """Read as ``recent.read`` does."""
        lowest, parts, number = since.timestamp(), [], 0
        left = sorted(
            (row for row in self.committed() if row[0] >= lowest), key=lambda row: -row[0]
        )
        while True:
            part, left = left[: limits.part], left[limits.part :]
            while left and part[-1][0] == left[0][0]:
                part.append(left.pop(0))
            number += len(part)
            is_last = not left or number >= limits.entries
            start = datetime.fromtimestamp(part[-1][0], UTC) if left else since
            keys = KeySet([fingerprint(uuid.UUID(row[2].sid)) for row in part])
            parts.append(recent.Part(keys, start))
            if is_last:
                self.read_rows += number
                return recent.RecentEntries(tuple(parts), datetime.fromtimestamp(self.now, UTC))

    def committed(self) -> list[tuple[float, float, Claims]]:
        return [row for row in self.rows if row[1] <= self.now]

    def go_on(self) -> None:
        self.now += self.chance.choice([0.0, 0.01, 0.3, 0.5, 0.5, 3.0, 9.0])
        if self.chance.random() < 0.003:
            self.now += 2_000  # nobody asked for long
        for _ in range(self.chance.choice([0, 0, 1, 3, 8])):
            self.revoke()

    def check(self) -> None:
        self.load = self.loader.load(connection, self.load, 1.0)
        seen = Snapshot.of(self.load, {}, slack=self.LIMITS.slack())
        for _, _, claims in self.committed():
            if claims.expires_at.timestamp() > self.now:
                assert seen.refuses(claims) is not False
        issued = datetime.fromtimestamp(self.now, UTC)
        for age in (0, 299):
            good = make_claims(
                issued_at=issued - timedelta(seconds=age),
                expires_at=issued + timedelta(seconds=300 - age),
            )
            assert seen.refuses(good) is not True
        assert sum(len(part.keys) for part in self.load.kept) <= self.LIMITS.entries
        assert len(self.load.kept) <= 2 + 2 * self.LIMITS.entries / self.LIMITS.part


@pytest.mark.any_database
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 5))]
)
def test_no_course_of_events_makes_it_miss_an_entry(seed: int) -> None:
    course = Course(seed)
    kept = 0
    for _ in range(600):
        course.go_on()
        course.check()
        kept += bool(course.load and course.load.kept)
    assert kept > 300, "otherwise this tests little"
    assert course.read_rows < 40 * len(course.rows)


@pytest.mark.any_database
def test_what_is_older_than_any_token_is_dropped() -> None:
    course = Course(0)
    for _ in range(3):
        for _ in range(100):
            course.revoke()
        course.now += 20
        course.check()
    assert course.load
    assert len(course.load.kept) > 1
    course.now += 700
    for _ in range(3):
        course.check()
    assert course.load.kept
    course.now += 1_000
    course.check()
    course.check()
    assert not course.load.kept
    assert sum(len(part.keys) for part in course.load.parts) == 0


@pytest.mark.any_database
def test_of_all_that_is_kept_few_parts_are_made() -> None:
    course = Course(0)
    for _ in range(40):
        course.now += 5
        for _ in range(7):
            course.rows.append((course.now, course.now, make_claims()))
        course.check()
    assert course.load
    assert len(course.load.parts) <= 2 + 40 * 7 / course.LIMITS.part * 2
