"""Cached checks: answered from a snapshot, and never wrong for longer than its greatest age."""

import gc
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.test import TestCase
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from tokens import blacklist, clock, sessions, snapshot
from tokens.api.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from tokens.claims import Claims
from tokens.exceptions import TokenRevoked
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import fingerprint, new_sid
from tokens.models import BlacklistEntry
from tokens.snapshot import Clocks, DatabaseSnapshot, Limits, pending, recent
from tokens.snapshot.keyset import KeySet

from .forge import signed
from .processes import PATIENCE
from .threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

CLASSES = [JWTAuthentication, JWTStatelessUserAuthentication]
LONG = timedelta(seconds=100)


class MovableClocks:
    """The clocks that the snapshot goes by, to be moved by hand.

    By themselves they go on by a microsecond each time, however long a busy machine takes.
    """

    def __init__(self) -> None:
        self.passed = self.set = 0.0
        self._begun, self._wall = clock.elapsed(), time.time()

    def elapsed(self) -> float:
        self.passed += 1e-6
        return self._begun + self.passed

    def wall(self) -> float:
        return self._wall + self.passed + self.set


class Reading:
    """How the snapshot reads the table: as it does, or as ``instead`` says.

    ``loads`` are the moments from which on it was read, one for each time.
    """

    def __init__(self) -> None:
        self.loads: list[datetime] = []
        self.instead: Callable[..., recent.RecentEntries] = recent.read

    def __call__(self, connection: Any, since: datetime, limits: Limits) -> recent.RecentEntries:
        self.loads.append(since)
        return self.instead(connection, since, limits)


@pytest.fixture
def clocks() -> MovableClocks:
    return MovableClocks()


@pytest.fixture
def reading() -> Reading:
    return Reading()


@pytest.fixture
def loads(reading: Reading) -> list[datetime]:
    return reading.loads


@pytest.fixture
def limit(clocks: MovableClocks, reading: Reading) -> Callable[..., None]:
    """Return what begins anew with other limits."""

    def begin(**limits: float) -> None:
        ours = Clocks(clocks.elapsed, clocks.wall)
        changed = replace(Limits(), **limits)  # type: ignore[arg-type]
        snapshot.reset(DatabaseSnapshot("default", limits=changed, clocks=ours, read=reading))

    return begin


@pytest.fixture(autouse=True)
def cached(settings: Any, limit: Callable[..., None]) -> Iterator[None]:
    """Each test begins without a snapshot, and may use the one it loads for long."""
    settings.TOKENS_CHECK_MAX_AGE = LONG
    limit()
    yield
    snapshot.reset()


def make_claims(**changes: Any) -> Claims:
    now = clock.from_epoch(int(time.time()))
    claims = Claims(
        jti=new_sid(),
        sid=new_sid(),
        user_id="1",
        issuer="",
        issued_at=now,
        expires_at=now + timedelta(minutes=5),
    )
    return replace(claims, **changes)


def revoke(claims: Claims) -> None:
    blacklist.revoke_session(claims.sid or "", expires_at=claims.expires_at + timedelta(days=1))


def revoked_elsewhere(claims: Claims, *, created_at: datetime | None = None) -> BlacklistEntry:
    """Write an entry as another process would: this one does not hear of it."""
    entry = BlacklistEntry(
        key=claims.sid,
        scope="session",
        subject=claims.sid,
        expires_at=claims.expires_at + timedelta(days=1),
    )
    entry.save(force_insert=True)
    if created_at:
        BlacklistEntry.objects.filter(key=entry.key).update(created_at=created_at)
    return entry


def ask(claims: Claims) -> bool | None:
    return snapshot.refuses(claims, using="default")


def authenticate(authentication: type, token: object) -> Any:
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {token}")
    return authentication().authenticate(Request(request))


# What a check costs


@pytest.mark.parametrize(("authentication", "cost"), list(zip(CLASSES, [1, 0], strict=True)))
def test_a_check_costs_the_user_and_nothing_more(
    authentication: type, cost: int, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    ask(make_claims())  # loads
    refresh = RefreshToken.for_user(user)
    access = str(refresh.access_token)
    with statements() as ran:
        assert authenticate(authentication, access)
    assert len(ran) == cost
    refresh.blacklist()
    ask(make_claims())
    with statements() as ran, pytest.raises(APIException, match="blacklisted"):
        authenticate(authentication, access)
    assert len(ran) == 1  # to say why


@pytest.mark.parametrize("authentication", CLASSES)
def test_an_old_token_and_one_without_a_session_cost_one_statement(
    authentication: type, user: AbstractUser, statements: Callable[[], Any]
) -> None:
    ask(make_claims())
    old = clock.to_epoch(clock.now()) - 86_400
    with statements() as ran:
        authenticate(authentication, signed(user_id=str(user.pk)))
    assert len(ran) == 1
    with statements() as ran, pytest.raises(APIException):
        # It lives longer than usual, and its session is gone.
        authenticate(authentication, signed(user_id=str(user.pk), sid=new_sid(), iat=old))
    assert len(ran) == 2  # the second one to say why


def test_without_the_setting_nothing_is_loaded(
    settings: Any, statements: Callable[[], Any], user: AbstractUser
) -> None:
    del settings.TOKENS_CHECK_MAX_AGE
    access = RefreshToken.for_user(user).access_token
    with statements() as ran:
        authenticate(JWTStatelessUserAuthentication, access)
    assert len(ran) == 1
    assert snapshot.facts() == snapshot.Facts(None, 0, 0, 0, 0, 0, 0)


def test_a_token_class_used_alone_asks_the_snapshot_and_a_refresh_token_the_database(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    ask(make_claims())
    refresh = RefreshToken.for_user(user)
    access = str(refresh.access_token)
    with statements() as ran:
        AccessToken(access)
    assert len(ran) == 0
    with statements() as ran:
        RefreshToken(str(refresh))
    assert len(ran) == 1


def test_users_of_another_database_cost_no_question(
    user: AbstractUser, statements: Callable[[], Any]
) -> None:
    ask(make_claims())
    claims = RefreshToken.for_user(user).access_token.claims
    with statements() as ran:
        assert blacklist.user_of(claims) == user
    assert len(ran) == 1
    assert "EXISTS" not in ran[0]


# What the snapshot answers


def test_what_was_revoked_before_the_load_is_refused_by_session_and_by_token() -> None:
    by_session, by_token, neither = make_claims(), make_claims(), make_claims()
    revoked_elsewhere(by_session)
    blacklist.revoke_token(by_token)
    snapshot.reset()
    assert ask(by_session) is True
    assert ask(by_token) is True
    assert ask(neither) is False
    assert (snapshot.facts().size, snapshot.facts().loads) == (2, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"sid": None},
        {"needs_session": True},
        {"issued_at": clock.now() - timedelta(days=1)},
        # Made a moment ago, for a login that was verified long before.
        {"expires_at": clock.now() - timedelta(hours=1)},
    ],
    ids=["no session", "needs its session", "issued early", "verified early"],
)
def test_it_can_not_tell_about(changes: dict[str, Any]) -> None:
    assert ask(make_claims(**changes)) is None
    assert snapshot.facts().not_covered == 1


def test_what_it_can_tell_begins_where_every_entry_is_in_the_snapshot(
    settings: Any, loads: list[datetime]
) -> None:
    settings.TOKENS_CLEANUP_MARGIN = timedelta(minutes=2)
    before = datetime.now(UTC)
    ask(make_claims())
    after = datetime.now(UTC)
    slack = timedelta(minutes=2, seconds=Limits().patience)
    reaches, second = timedelta(minutes=5) + LONG + 2 * slack, timedelta(seconds=1)
    assert before - second <= loads[0] + reaches <= after + second
    edge = clock.stored(loads[0] + slack)
    inside, outside = edge + timedelta(seconds=1), edge - timedelta(seconds=1)
    lives = timedelta(minutes=5)
    assert ask(make_claims(issued_at=inside, expires_at=inside + lives)) is False
    assert ask(make_claims(issued_at=outside, expires_at=outside + lives)) is None
    # As old as such a token is, an entry made when it was issued is in the snapshot.
    assert BlacklistEntry.objects.count() == 0
    claims = make_claims(issued_at=inside, expires_at=inside + lives)
    revoked_elsewhere(claims, created_at=inside - slack)
    snapshot.reset()
    assert ask(claims) is True


def test_a_longer_lifetime_does_not_unrevoke(settings: Any) -> None:
    """A token that lived longer when it was issued asks the database, whatever the settings."""
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ACCESS_TOKEN_LIFETIME": timedelta(hours=2)}
    issued = clock.now() - timedelta(hours=1)
    claims = make_claims(issued_at=issued, expires_at=issued + timedelta(hours=2))
    revoked_elsewhere(claims, created_at=issued)
    assert ask(claims) is True
    snapshot.reset()
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ACCESS_TOKEN_LIFETIME": timedelta(minutes=1)}
    assert ask(claims) is None
    assert blacklist.is_revoked(claims)


def test_without_USE_TZ_it_answers_the_same(settings: Any) -> None:
    claims = make_claims()
    assert ask(claims) is False
    settings.USE_TZ = False
    naive = replace(
        claims,
        issued_at=claims.issued_at.replace(tzinfo=None),
        expires_at=claims.expires_at.replace(tzinfo=None),
    )
    assert ask(naive) is False
    assert ask(replace(naive, issued_at=naive.issued_at - timedelta(days=1))) is None


def test_more_than_fit_leave_old_tokens_to_the_database(
    limit: Callable[..., None], settings: Any
) -> None:
    limit(slice=3, entries=9, patience=0)
    settings.TOKENS_CLEANUP_MARGIN = timedelta(0)
    many = [make_claims() for _ in range(20)]
    now = clock.now()
    for number, claims in enumerate(many):
        # Three share each moment, and half a minute lies between the moments.
        revoked_elsewhere(claims, created_at=now - timedelta(seconds=30) * (number // 3))
    assert all(ask(claims) for claims in many[:9])
    assert snapshot.facts().size == 9
    early = now - timedelta(seconds=61)
    assert ask(make_claims(issued_at=early)) is None
    # None of those that were left out is called good.
    assert all(ask(replace(claims, issued_at=early)) is None for claims in many[9:])


@pytest.mark.parametrize("slice_", [1, 2, 3, 7, 100])
def test_slices_miss_nothing(slice_: int) -> None:
    many = [make_claims() for _ in range(23)]
    now = clock.now()
    for number, claims in enumerate(many):
        revoked_elsewhere(claims, created_at=now - timedelta(microseconds=number // 3))
    revoked_elsewhere(make_claims(), created_at=now - timedelta(days=2))
    since = datetime.now(UTC) - timedelta(days=1)
    for part in (slice_ + 1, 1000):
        read = recent.read(connection, since, Limits(slice=slice_, part=part))
        assert sum(len(one.keys) for one in read.parts) == 23
        for claims in many:
            sid = fingerprint(uuid.UUID(claims.sid))
            assert any(not one.keys.isdisjoint([sid]) for one in read.parts)
        assert read.since == since
        # Each part says from when on it and the newer ones are complete.
        seen = 0
        for one in read.parts:
            seen += len(one.keys)
            assert BlacklistEntry.objects.filter(created_at__gte=one.since).count() == seen


@pytest.mark.skipif(connection.vendor == "sqlite", reason="nobody writes while somebody reads")
def test_an_entry_that_gets_a_new_moment_between_two_slices_is_not_missed() -> None:
    now = clock.now()
    old = make_claims()
    revoked_elsewhere(old, created_at=now - timedelta(hours=1))
    for number in range(6):
        revoked_elsewhere(make_claims(), created_at=now - timedelta(minutes=number))
    moved = []

    def move() -> None:
        moved.append(BlacklistEntry.objects.filter(key=old.sid).update(created_at=clock.now()))

    def move_after_a_slice(execute: Any, sql: str, *rest: Any) -> Any:
        answer = execute(sql, *rest)
        if "created_at <" in sql and not moved:
            at_once(1, move)
        return answer

    with connection.execute_wrapper(move_after_a_slice):
        read = recent.read(connection, datetime.now(UTC) - timedelta(days=1), Limits(slice=2))
    assert moved == [1]
    [part] = read.parts
    assert not part.keys.isdisjoint([fingerprint(uuid.UUID(old.sid))])
    assert len(part.keys) == 7


# What this process revokes


def test_ones_own_revocation_counts_before_anything_else_follows_the_commit() -> None:
    claims, seen = make_claims(), []
    assert ask(claims) is False

    def stumble() -> None:
        seen.append(ask(claims))
        raise RuntimeError

    with pytest.raises(RuntimeError), transaction.atomic():
        transaction.on_commit(stumble)
        revoke(claims)
    assert seen == [True]
    assert ask(claims) is True


def test_ending_sessions_that_are_named_leaves_the_snapshot_in_use(
    user: AbstractUser, settings: Any, loads: list[datetime]
) -> None:
    settings.TOKENS_MAX_SESSIONS_PER_USER = 2
    ask(make_claims())
    first, second, third, fourth = (
        RefreshToken.for_user(user).access_token.claims for _ in range(4)
    )
    assert [ask(one) for one in (first, second, third, fourth)] == [True, True, False, False]
    assert sessions.end_one(user, third.sid or "")
    assert [ask(one) for one in (third, fourth)] == [True, False]
    assert sessions.end_by_ids([uuid.UUID(fourth.sid)], reason="revoked") == 1
    assert ask(fourth) is True
    assert len(loads) == 1


def test_somebody_elses_session_can_not_be_refused_by_naming_it(
    user: AbstractUser, make_user: Callable[..., AbstractUser]
) -> None:
    claims = RefreshToken.for_user(make_user("eve")).access_token.claims
    assert ask(claims) is False
    assert not sessions.end_one(user, claims.sid or "")
    assert ask(claims) is not True
    assert not blacklist.is_revoked(claims)


def test_ones_own_revocation_counts_at_once(loads: list[datetime]) -> None:
    claims = make_claims()
    assert ask(claims) is False
    revoke(claims)
    assert ask(claims) is True
    assert len(loads) == 1
    other = make_claims()
    assert ask(other) is False
    blacklist.revoke_token(other)
    assert ask(other) is True
    assert len(loads) == 1


def test_revoking_what_another_process_has_revoked_counts_at_once() -> None:
    claims = make_claims()
    assert ask(claims) is False
    revoked_elsewhere(claims)
    assert ask(claims) is False
    revoke(claims)
    assert ask(claims) is True


def test_ending_many_sessions_counts_at_once(user: AbstractUser) -> None:
    tokens = [RefreshToken.for_user(user).access_token.claims for _ in range(3)]
    assert not any(ask(claims) for claims in tokens)
    sessions.end_all(user)
    assert ask(tokens[0]) in (None, True)
    assert all(blacklist.is_revoked(claims) for claims in tokens)


def test_a_note_stays_until_a_load_that_began_after_it(
    clocks: MovableClocks, reading: Reading, limit: Callable[..., None]
) -> None:
    """The load reads before the commit, and ends after it."""
    limit(own=1)
    claims, other = make_claims(), make_claims()
    ask(claims)
    clocks.passed += 60

    def read_then_commit(*asked: Any) -> recent.RecentEntries:
        found = recent.read(*asked)
        revoke(claims)
        return found

    reading.instead = read_then_commit
    assert ask(claims) is True
    assert snapshot.facts().loads == 2
    reading.instead = recent.read
    clocks.passed += 60
    assert ask(claims) is True
    assert snapshot.facts().loads == 3
    revoke(other)
    assert ask(claims) is True, "the first note has gone, so there was room for another"
    assert ask(other) is True


def test_a_load_during_which_sessions_end_is_not_used(user: AbstractUser, reading: Reading) -> None:
    claims = RefreshToken.for_user(user).access_token.claims

    def read_then_end(*asked: Any) -> recent.RecentEntries:
        found = recent.read(*asked)
        sessions.end_all(user)
        return found

    reading.instead = read_then_end
    assert ask(claims) is None
    assert blacklist.is_revoked(claims)


def test_too_many_notes_make_way_for_a_load(
    limit: Callable[..., None], clocks: MovableClocks
) -> None:
    limit(own=3)
    many = [make_claims() for _ in range(4)]
    ask(many[0])
    for claims in many:
        revoke(claims)
    assert ask(many[0]) in (None, True)
    assert all(blacklist.is_revoked(claims) for claims in many)
    clocks.passed += 60
    assert all(ask(claims) for claims in many)


def test_what_is_rolled_back_leaves_nothing_behind() -> None:
    gc.collect()  # what a failed transaction of an earlier test left in a cycle
    claims = make_claims()
    assert ask(claims) is False
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        revoke(claims)
        assert ask(claims) is None, "not committed: the connection's own question knows"
        assert blacklist.is_revoked(claims)
        raise ZeroDivisionError
    assert ask(claims) is False
    assert not pending.waiting, "checks need not look at their connection any more"


def test_a_savepoint_that_is_rolled_back_leaves_nothing_behind() -> None:
    claims = make_claims()
    ask(claims)
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            revoke(claims)
            raise ZeroDivisionError
        assert ask(claims) is False
        assert not blacklist.is_revoked(claims)


def test_what_is_committed_at_last_counts_then(user: AbstractUser) -> None:
    claims = RefreshToken.for_user(user).access_token.claims
    ask(claims)
    with transaction.atomic():
        sessions.end(claims)
        assert ask(claims) is None
    assert ask(claims) is True


def test_others_go_on_with_the_snapshot_while_a_transaction_is_open() -> None:
    claims = make_claims()
    ask(claims)
    with transaction.atomic():
        revoke(claims)
        assert at_once(1, lambda: ask(claims)) == [False]
    assert at_once(1, lambda: ask(claims)) == [True]


class TestInAProjectsTests(TestCase):
    """``TestCase`` never commits; what a test revokes is refused in it, and forgotten after it."""

    claims: Claims

    @classmethod
    def setUpTestData(cls) -> None:
        cls.claims = make_claims()

    def test_one(self) -> None:
        self._revoke_what_was_good()

    def test_two(self) -> None:
        self._revoke_what_was_good()

    def test_what_follows_a_commit_is_captured_as_without_us(self) -> None:
        seen: list[str] = []
        transaction.on_commit(lambda: seen.append("before"))
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            revoke(make_claims())
            transaction.on_commit(lambda: seen.append("after"))
        assert seen == ["after"]
        assert isinstance(callbacks[0], pending.Revocation)

    def _revoke_what_was_good(self) -> None:
        assert not blacklist.is_revoked(self.claims)
        with self.captureOnCommitCallbacks(execute=True):
            revoke(self.claims)
        assert blacklist.is_revoked(self.claims)


def test_unrevoking_counts_at_once_in_this_process(user: AbstractUser) -> None:
    claims = make_claims()
    revoke(claims)
    assert ask(claims) is True
    blacklist.unrevoke(BlacklistEntry.objects.all(), by=user)
    assert not blacklist.is_revoked(claims)
    assert ask(claims) is not True


# An entry that is committed long after it was made


def test_an_entry_of_a_long_transaction_is_made_when_it_is_committed(
    limit: Callable[..., None],
) -> None:
    limit(patience=0.02)
    claims = make_claims()
    with transaction.atomic():
        revoke(claims)
        before = BlacklistEntry.objects.get().created_at
        time.sleep(0.02)
    assert BlacklistEntry.objects.get().created_at > before
    assert ask(claims) is True


def test_ones_own_late_revocation_counts_even_if_a_load_forgets_it_meanwhile(
    clocks: MovableClocks, reading: Reading
) -> None:
    """A load may miss a row that moves from an old place to a new one, and drop the first note."""
    claims, loaded = make_claims(), []
    ask(claims)

    def miss(_connection: Any, since: datetime, _limits: Limits) -> recent.RecentEntries:
        return recent.RecentEntries((recent.Part(KeySet(()), since),), datetime.now(UTC))

    def move_up() -> None:
        clocks.passed += 60
        loaded.append(ask(claims))

    reading.instead = miss
    tell = partial(snapshot.note, [fingerprint(uuid.UUID(claims.sid))], using="default")
    begun = clock.elapsed() - Limits().patience
    late = snapshot.Revocation("default", begun=begun, tell=tell, move_up=move_up)
    with transaction.atomic():
        snapshot.when_committed(late)
    assert loaded == [False], "the load dropped what it should have seen"
    assert ask(claims) is True


def test_entries_of_a_long_transaction_are_made_when_they_are_committed(
    user: AbstractUser, limit: Callable[..., None]
) -> None:
    limit(patience=0.02)
    for _ in range(3):
        RefreshToken.for_user(user)
    with transaction.atomic():
        sessions.end_all(user)
        before = BlacklistEntry.objects.latest("created_at").created_at
        time.sleep(0.02)
    assert BlacklistEntry.objects.filter(created_at__gt=before).count() == 4


def test_an_entry_of_a_short_transaction_keeps_its_moment(statements: Callable[[], Any]) -> None:
    with statements() as ran, transaction.atomic():
        revoke(make_claims())
    assert len(ran) == 1


# Age


def test_a_snapshot_is_loaded_when_half_its_time_is_over(
    clocks: MovableClocks, loads: list[datetime]
) -> None:
    ask(make_claims())
    clocks.passed += 44
    assert ask(make_claims()) is False
    assert len(loads) == 1
    clocks.passed += 12
    assert ask(make_claims()) is False
    assert len(loads) == 2


@pytest.mark.parametrize("step", [3600, -3600], ids=["ahead", "back"])
def test_a_clock_that_is_set_makes_a_snapshot_old(
    step: int, clocks: MovableClocks, loads: list[datetime]
) -> None:
    ask(make_claims())
    clocks.set += step
    clocks.passed += 1
    ask(make_claims())
    assert len(loads) == 2


def test_what_is_too_slow_to_be_of_use_is_not_tried_all_the_time(
    clocks: MovableClocks, reading: Reading
) -> None:
    def slowly(*asked: Any) -> recent.RecentEntries:
        clocks.passed += 200
        return recent.read(*asked)

    reading.instead = slowly
    assert ask(make_claims()) is None
    assert len(reading.loads) == 1
    clocks.passed += 50
    assert ask(make_claims()) is None
    assert len(reading.loads) == 1
    reading.instead = recent.read
    clocks.passed += 20
    assert ask(make_claims()) is False


def test_a_smaller_age_counts_at_once(settings: Any, loads: list[datetime]) -> None:
    ask(make_claims())
    settings.TOKENS_CHECK_MAX_AGE = timedelta(microseconds=1)
    assert ask(make_claims()) is None
    settings.TOKENS_CHECK_MAX_AGE = timedelta(0)
    claims = make_claims()
    assert ask(claims) is None
    revoke(claims)
    settings.TOKENS_CHECK_MAX_AGE = LONG
    assert ask(claims) is not False


# Failure


@pytest.fixture
def broken(reading: Reading) -> Callable[[bool], None]:
    """Return what breaks and mends the reading of the table."""

    def fail(*_: Any) -> Any:
        raise OperationalError("the server has gone")

    def break_it(now: bool) -> None:
        reading.instead = fail if now else recent.read

    return break_it


def test_a_failed_load_keeps_the_snapshot_until_it_is_too_old(
    clocks: MovableClocks, broken: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    ask(make_claims())
    broken(True)
    clocks.passed += 60
    assert ask(make_claims()) is False
    assert ask(make_claims()) is False
    assert snapshot.facts().failures == 1, "not tried again at once"
    clocks.passed += 50
    assert ask(make_claims()) is None
    assert snapshot.facts().failures == 2
    events = [record.event for record in caplog.records if hasattr(record, "event")]
    assert events == ["snapshot_failed"], "logged once in the greatest age"
    broken(False)
    clocks.passed += 60
    assert ask(make_claims()) is False


def test_a_load_that_fails_slowly_is_not_tried_all_the_time(
    clocks: MovableClocks, settings: Any, reading: Reading
) -> None:
    def fail_slowly(*_: Any) -> Any:
        clocks.passed += 10
        raise OperationalError("no connection was free")

    settings.TOKENS_CHECK_MAX_AGE = timedelta(seconds=1)
    reading.instead = fail_slowly
    for _ in range(5):
        assert ask(make_claims()) is None
    assert snapshot.facts().failures == 1
    clocks.passed += 61
    assert ask(make_claims()) is None
    assert snapshot.facts().failures == 2


def test_neither_a_snapshot_nor_the_database_is_503(
    broken: Callable[[bool], None], user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = RefreshToken.for_user(user).access_token
    broken(True)

    def fail(*_: Any, **__: Any) -> Any:
        raise DatabaseError("the server has gone")

    monkeypatch.setattr(blacklist, "_ask", fail)
    with pytest.raises(APIException) as refusal:
        authenticate(JWTStatelessUserAuthentication, access)
    assert refusal.value.status_code == 503


def test_an_interrupted_load_lets_others_load(clocks: MovableClocks, reading: Reading) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    reading.instead = interrupt
    with pytest.raises(KeyboardInterrupt):
        ask(make_claims())
    reading.instead = recent.read
    clocks.passed += 51
    assert ask(make_claims()) is False


def test_beginning_anew_forgets_revocations_that_were_rolled_back() -> None:
    """The error that ended a transaction may keep them until Python looks for cycles."""
    kept = snapshot.Revocation("default", begun=clock.elapsed(), tell=list, move_up=list)
    with transaction.atomic():
        snapshot.when_committed(kept)
        transaction.set_rollback(True)
    assert pending.waiting
    snapshot.reset()
    assert not pending.waiting


# Where it is asked


def test_in_a_transaction_a_load_sees_what_others_have_committed() -> None:
    """At REPEATABLE READ the transaction itself would not."""
    claims, own = make_claims(), make_claims()
    with transaction.atomic():
        BlacklistEntry.objects.count()  # the transaction's view begins
        if connection.vendor != "sqlite":  # where a transaction keeps all others from writing
            at_once(1, lambda: revoked_elsewhere(claims))
            assert ask(claims) is True
        revoked_elsewhere(own)
        snapshot.reset()
        assert ask(own) is False, "no snapshot holds what nobody has committed"
    assert snapshot.facts().loads == 1


def test_a_load_sees_what_is_committed_while_a_select_is_read_half_way() -> None:
    """SQLite shows the state at its beginning to whatever else that connection asks."""
    for _ in range(3):
        revoked_elsewhere(make_claims())
    claims = make_claims()
    rows = BlacklistEntry.objects.iterator(chunk_size=1)
    next(rows)
    at_once(1, lambda: revoked_elsewhere(claims))
    assert ask(claims) is True
    assert len(list(rows)) >= 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="counts connections")
def test_a_load_in_a_transaction_leaves_no_connection_behind() -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with transaction.atomic(), connection.cursor() as cursor:
        for _ in range(3):
            snapshot.reset()
            assert ask(make_claims()) is False
        time.sleep(0.2)
        cursor.execute(count)
        assert cursor.fetchone()[0] == 1


def test_a_database_in_memory_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite is in memory")
    monkeypatch.setattr(connections["default"], "is_in_memory_db", lambda: True)
    assert ask(make_claims()) is None
    assert snapshot.facts().failures == 0


def test_moments_in_local_time_make_no_snapshot(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = connections["default"]
    assert recent.obstacle(database) is None
    local = "Europe/Berlin"
    settings.USE_TZ = database.vendor != "postgresql"
    monkeypatch.setattr(database, "timezone_name", local)
    assert local in (recent.obstacle(database) or "")


def test_each_database_has_a_snapshot_of_its_own() -> None:
    ask(make_claims())
    assert snapshot.facts(using="default").loads == 1
    assert snapshot.facts(using="other").loads == 0
    with pytest.raises(Exception, match="other"):
        snapshot.refuses(make_claims(), using="other")


def test_a_flush_forgets_the_snapshot() -> None:
    from django.core.management import call_command

    claims = make_claims()
    revoke(claims)
    assert ask(claims) is True
    call_command("flush", interactive=False, verbosity=0)
    assert ask(claims) is not True
    assert not blacklist.is_revoked(claims)


# Threads and processes


def test_of_many_threads_one_loads_and_the_others_do_not_wait(
    reading: Reading, clocks: MovableClocks
) -> None:
    loading, go_on = threading.Event(), threading.Event()
    ask(make_claims())
    clocks.passed += 60

    def slowly(*asked: Any) -> recent.RecentEntries:
        loading.set()
        assert go_on.wait(PATIENCE)
        return recent.read(*asked)

    reading.instead = slowly
    loader = threading.Thread(target=lambda: (ask(make_claims()), connections.close_all()))
    loader.start()
    assert loading.wait(PATIENCE)
    assert set(at_once(20, lambda: ask(make_claims()))) == {False}
    clocks.passed += 45
    assert set(at_once(20, lambda: ask(make_claims()))) == {None}, "too old for an answer"
    go_on.set()
    loader.join()
    assert snapshot.facts().loads == 2


def test_a_load_that_hangs_keeps_others_from_loading_for_a_minute_only(
    clocks: MovableClocks, reading: Reading
) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def hang(*asked: Any) -> recent.RecentEntries:
        found = recent.read(*asked)
        loading.set()
        assert go_on.wait(PATIENCE)
        return found

    reading.instead = hang
    loader = threading.Thread(target=lambda: (ask(make_claims()), connections.close_all()))
    loader.start()
    assert loading.wait(PATIENCE)
    reading.instead = recent.read
    claims = make_claims()
    revoked_elsewhere(claims)
    assert ask(claims) is None
    clocks.passed += 61
    assert ask(claims) is None, "its turn has been taken away"
    assert ask(claims) is True
    go_on.set()
    loader.join()
    assert ask(claims) is True, "what it read is older"


@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs a lock that SELECT waits for")
def test_a_load_does_not_wait_for_a_lock_that_its_own_caller_holds() -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE tokens_blacklistentry IN ACCESS EXCLUSIVE MODE")
        assert ask(make_claims()) is None
    assert snapshot.facts().failures == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_was_forked_while_a_load_was_under_way_can_load(
    clocks: MovableClocks, reading: Reading
) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def slowly(*asked: Any) -> recent.RecentEntries:
        loading.set()
        assert go_on.wait(PATIENCE)
        return recent.read(*asked)

    reading.instead = slowly
    loader = threading.Thread(target=lambda: (ask(make_claims()), connections.close_all()))
    loader.start()
    assert loading.wait(PATIENCE)
    connections.close_all()
    child = os.fork()
    if not child:  # pragma: no cover (another process)
        code = 1
        try:
            reading.instead = recent.read
            clocks.passed += 51
            code = 0 if ask(make_claims()) is False else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    go_on.set()
    loader.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_facts_tell_what_happened() -> None:
    assert ask(make_claims()) is False
    revoke(make_claims())
    ask(make_claims(sid=None))
    facts = snapshot.facts()
    assert 0 <= (facts.age or -1) < 60
    assert (facts.loads, facts.failures, facts.from_snapshot) == (1, 0, 1)
    assert (facts.not_covered, facts.without_snapshot) == (1, 0)
    snapshot.distrust(using="default")
    assert ask(make_claims()) in (None, False)


def test_domain_raises() -> None:
    claims = make_claims()
    blacklist.check(claims)
    revoke(claims)
    with pytest.raises(TokenRevoked):
        blacklist.check(claims)
