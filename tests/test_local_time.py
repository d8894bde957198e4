"""Local time that is put back and forward: nothing that was revoked is accepted again.

SQLite and MariaDB keep aware moments as the clock times of ``DATABASES[…]["TIME_ZONE"]``;
PostgreSQL takes naive ones for clock times in ``TIME_ZONE``. Both go wrong in some hours of a year.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from io import StringIO
from operator import or_
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import Q
from rest_framework.test import APIClient

from tokens import blacklist, cleanup, clock, sessions
from tokens.checks import protection
from tokens.claims import Claims
from tokens.cleanup import batches
from tokens.databases.local_time import Taken, Written, jumps
from tokens.jwt import AccessToken
from tokens.keys import new_sid
from tokens.models import BlacklistEntry, CleanupRun, TokenSession

from .conftest import HOUR, MINUTE, SECOND, Login
from .forge import signed
from .uuids import LAST_UUID7

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

# Zones, and moments at which their clocks are put back or forward. Where a database takes naive
# moments for clock times, those of UTC go wrong when the zone's clocks show what UTC's show then.
JUMPS = {
    "Berlin, back": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "Berlin, forward": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "New York, back": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "New York, forward": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    "Lord Howe, back": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Lord Howe, forward": ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    "Troll, back": ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "Troll, forward": ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
}
LARGEST_JUMP = 2 * HOUR
TAKES_NAIVE = connection.vendor == "postgresql"


@pytest.fixture
def keep_in(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let the database keep moments in the local time of a zone."""

    def keep(zone: str) -> None:
        if TAKES_NAIVE:
            settings.USE_TZ, settings.TIME_ZONE = False, zone
        else:
            monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", zone)
        forget()

    def forget() -> None:
        connection.close()
        for name in ("timezone", "timezone_name"):
            vars(connections["default"]).pop(name, None)

    yield keep
    monkeypatch.undo()
    forget()


# Where clock times are ambiguous for this database, and where they are not.
WRONG, RIGHT = "Berlin, back", "Berlin, forward"
if TAKES_NAIVE:
    WRONG, RIGHT = RIGHT, WRONG
IS_SQLITE = connection.vendor == "sqlite"


def some_of(names: list[str], *usual: str) -> list[Any]:
    return [
        pytest.param(name, marks=[] if name in usual else pytest.mark.thorough) for name in names
    ]


# For tests that take longer, and for servers, where each test takes longer.
SOME_JUMPS = some_of([WRONG, RIGHT, "Troll, back"], WRONG)
MOST_JUMPS = some_of([*JUMPS], WRONG, RIGHT, "Lord Howe, back", "Troll, back")


@pytest.fixture(params=MOST_JUMPS if IS_SQLITE else SOME_JUMPS)
def jump(request: pytest.FixtureRequest, keep_in: Callable[[str], None]) -> datetime:
    """Let the database keep local time; return the moment, as stored, when it goes wrong."""
    zone, moment = JUMPS[request.param]
    keep_in(zone)
    return clock.stored(moment.astimezone(ZoneInfo(zone)) if TAKES_NAIVE else moment)


@pytest.fixture
def at(time_machine: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Set the clocks of this host and of the database."""
    monkeypatch.setattr(clock, "database_now", lambda _using: clock.now())
    # Ids of sessions follow time, and no clock goes back while a process runs.
    monkeypatch.setattr(*LAST_UUID7, None)
    return lambda moment: time_machine.move_to(clock.aware(moment), tick=False)


# Of the jumps on servers, none is shorter than an hour.
STEP = 15 if IS_SQLITE else 30


def around(moment: datetime, *, minutes: int = STEP, hours: int = 3) -> list[datetime]:
    number = hours * 60 // minutes
    return [moment + step * minutes * MINUTE for step in range(-number, number + 1)]


def add_rows(moments: list[datetime]) -> dict[UUID, datetime]:
    """Add an entry and a session for each moment at which they end; return both by their keys."""
    found = {uuid4(): moment for moment in moments}
    BlacklistEntry.objects.bulk_create(
        BlacklistEntry(key=key, scope="token", subject="x", expires_at=end)
        for key, end in found.items()
    )
    TokenSession.objects.bulk_create(
        TokenSession(sid=key, user_id=1, refresh_jti="j", expires_at=end)
        for key, end in found.items()
    )
    return found


def assert_stays(cutoffs: list[datetime]) -> None:
    """No entry is expired at any of these. One statement."""
    ends = [BlacklistEntry.objects.all().end_before(cutoff) for cutoff in cutoffs]
    expired = [Q(expires_at__lt=end) for end in ends]
    assert not BlacklistEntry.objects.filter(reduce(or_, expired)).exists()


def claims_of(**changes: Any) -> Claims:
    return replace(AccessToken(signed(), verify=False).claims, **changes)


# The cleanup


def test_no_row_goes_before_its_end_and_each_goes_soon_after_it(jump: datetime) -> None:
    ends = add_rows(around(jump))
    for cutoff in around(jump):
        for model in (BlacklistEntry, TokenSession):
            rows = model.objects.all()
            gone = {
                ends[pk]
                for pk in rows.expired(cutoff + rows.kept_for()).values_list("pk", flat=True)
            }
            assert not any(end >= cutoff for end in gone), (model, cutoff)
            assert {end for end in ends.values() if end < cutoff - LARGEST_JUMP} <= gone


def test_what_is_announced_is_what_goes(
    jump: datetime, at: Callable[[datetime], None], settings: Any
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ACCESS_TOKEN_LIFETIME": 20 * MINUTE}
    settings.TOKENS_CLEANUP_MARGIN = timedelta(0)
    add_rows(around(jump))
    for now in around(jump, minutes=30):
        at(now)
        preview, status = cleanup.preview(), cleanup.status()
        assert preview.expired == status.backlog
        assert (status.oldest_expired is None) == (preview.expired == 0)
        dry = StringIO()
        call_command("cleanup_tokens", dry_run=True, format="json", stdout=dry)
        assert f'"entries_expired": {preview.entries_expired},' in dry.getvalue()
        kept = preview.entries_kept, preview.sessions_kept
        assert cleanup.run().removed == preview.expired
        assert (BlacklistEntry.objects.count(), TokenSession.objects.count()) == kept
    at(jump + 3 * HOUR + LARGEST_JUMP)
    cleanup.run()
    assert not BlacklistEntry.objects.exists()


def test_a_batch_that_loads_its_rows_goes_by_the_same_moment(
    jump: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "deletes_instances", lambda _rows: True)
    ends = add_rows(around(jump))
    for cutoff in around(jump, minutes=30):
        batches.delete(BlacklistEntry.objects.all(), cutoff, limit=100)
        left = {ends[key] for key in BlacklistEntry.objects.values_list("key", flat=True)}
        assert {end for end in ends.values() if end >= cutoff} <= left


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC"])
def test_a_token_that_was_logged_out_in_the_hour_that_comes_twice_stays_refused(
    zone: str,
    user: AbstractUser,
    keep_in: Callable[[str], None],
    at: Callable[[datetime], None],
    settings: Any,
) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {
        "ACCESS_TOKEN_LIFETIME": HOUR,
        "REFRESH_TOKEN_LIFETIME": HOUR,
    }
    keep_in(zone)
    midnight = clock.stored(datetime(2026, 10, 25, tzinfo=UTC))
    if TAKES_NAIVE:  # the hour that is skipped, in spring
        midnight = clock.stored(datetime(2026, 3, 29, 2, tzinfo=UTC))
    at(midnight + 30 * MINUTE)
    login = Login(user)
    at(midnight + 31 * MINUTE)
    assert login.logout().status_code == 204
    assert login.me().status_code == 401
    removed = 0
    for minute in range(36, 90, 6):
        at(midnight + minute * MINUTE + 10 * SECOND)
        removed += cleanup.run().entries_removed
        assert login.me().status_code == 401, minute
    assert removed == 0
    at(midnight + 30 * MINUTE + 5 * HOUR)
    assert cleanup.run().entries_removed == 1


# What is written again


@pytest.mark.parametrize("jump", SOME_JUMPS, indirect=True)
@pytest.mark.parametrize("write_again", ["one", "many", "user", "users"])
def test_an_entry_covers_each_end_that_it_was_written_with(
    write_again: str,
    jump: datetime,
    at: Callable[[datetime], None],
    user: AbstractUser,
    settings: Any,
) -> None:
    settings.TOKENS_LONGEST_LIFETIME = MINUTE
    moments = [jump + minutes * MINUTE for minutes in (-50, -10, 0, 10, 50)]

    def write(moment: datetime) -> None:
        at(moment)
        if write_again == "one":
            blacklist.revoke_session(sid, expires_at=moment)
        elif write_again == "many":
            TokenSession.objects.update(expires_at=moment)
            blacklist.revoke_sessions(TokenSession.objects.of_user(user.pk), reason="x")
        elif write_again == "user":
            blacklist.revoke_user(user.pk, str(user.pk))
        else:
            blacklist.revoke_users([(user.pk, str(user.pk))])

    for first in moments:
        for second in moments:
            BlacklistEntry.objects.all().delete()
            TokenSession.objects.all().delete()
            sid = new_sid()
            TokenSession.objects.create(
                sid=sid, user=user, refresh_jti="j", previous_jti="i", expires_at=first
            )
            write(first)
            write(second)
            end = max(first, second) + (MINUTE if "user" in write_again else timedelta(0))
            assert_stays([cutoff for cutoff in around(jump, minutes=20) if cutoff <= end])


@pytest.mark.parametrize("jump", SOME_JUMPS, indirect=True)
def test_the_end_of_a_session_covers_that_of_its_newest_token(
    jump: datetime, at: Callable[[datetime], None], user: AbstractUser
) -> None:
    at(jump - 2 * HOUR)
    moments = [jump + minutes * MINUTE for minutes in (-50, -10, 0, 10, 50)]
    for end in moments:
        for older in moments:
            BlacklistEntry.objects.all().delete()
            sid = new_sid()
            TokenSession.objects.create(
                sid=sid, user=user, refresh_jti="j", previous_jti="i", expires_at=end
            )
            sessions.end(claims_of(sid=sid, expires_at=older))
            last = max(end, older)
            assert_stays([cutoff for cutoff in around(jump, minutes=20) if cutoff <= last])


# The rule of refusal


@pytest.mark.parametrize("many", [False, True])
def test_a_token_that_was_issued_before_its_user_was_logged_out_is_refused(
    many: bool, jump: datetime, at: Callable[[datetime], None], user: AbstractUser
) -> None:
    for revoked in around(jump, minutes=20, hours=2):
        BlacklistEntry.objects.all().delete()
        at(revoked)
        if many:
            blacklist.revoke_users([(user.pk, str(user.pk))])
        else:
            blacklist.revoke_user(user.pk, str(user.pk))
        for issued in around(jump, minutes=20):
            token = claims_of(sid=None, user_id=str(user.pk), issued_at=issued)
            if issued <= revoked:
                assert blacklist.is_revoked(token), (revoked, issued)
            elif issued > revoked + LARGEST_JUMP:
                assert not blacklist.is_revoked(token), (revoked, issued)


# Sessions


def test_a_live_session_and_an_entry_in_force_are_shown(
    jump: datetime, at: Callable[[datetime], None], user: AbstractUser
) -> None:
    ends = add_rows(around(jump))
    TokenSession.objects.update(user=user)
    for now in around(jump):
        at(now)
        expected = {key for key, end in ends.items() if end > now}
        live = set(sessions.of_user(user).values_list("sid", flat=True))
        assert expected <= live
        assert expected <= set(BlacklistEntry.objects.in_force().values_list("key", flat=True))
        rows = BlacklistEntry.objects.all()
        assert all(row.in_force for row in rows if row.key in expected)


@pytest.mark.parametrize("jump", SOME_JUMPS, indirect=True)
@pytest.mark.parametrize("minutes", [-50, 0, 10])
def test_two_tabs_that_refresh_at_once_are_no_theft_and_a_replay_later_is(
    minutes: int,
    jump: datetime,
    at: Callable[[datetime], None],
    user: AbstractUser,
    settings: Any,
) -> None:
    used = jump + minutes * MINUTE
    verify = "/api/token/verify/"
    for wait, accepted in ((5 * SECOND, True), (20 * MINUTE, False), (59 * MINUTE, False)):
        at(used - MINUTE)
        login = Login(user)
        at(used)
        assert login.refresh().status_code == 200
        at(used + wait)
        known = APIClient().post(verify, {"token": login.refresh_token}).status_code == 200
        if minutes:  # For ten seconds after the jump, this question is answered too strictly.
            assert known == accepted
        assert (login.refresh().status_code == 200) == accepted


# Runs


def test_a_run_that_works_keeps_its_lease_and_a_dead_one_loses_it(
    jump: datetime, at: Callable[[datetime], None]
) -> None:
    for heard_of in around(jump, minutes=20):
        CleanupRun.objects.all().delete()
        at(heard_of)
        CleanupRun.objects.create(trigger="command", slot=1)
        at(heard_of + MINUTE)
        assert cleanup.run().skipped == cleanup.RUNNING_ELSEWHERE
        at(heard_of + 2 * CleanupRun.LEASE)
        assert cleanup.run().skipped is None


# The check


@pytest.mark.parametrize(
    ("zone", "warns"),
    [
        *(("Europe/Berlin", True), ("America/New_York", True), ("Australia/Lord_Howe", True)),
        *(("Antarctica/Troll", True), ("America/Santiago", True), ("Africa/Casablanca", True)),
        *(("Asia/Kolkata", False), ("Africa/Abidjan", False), ("Etc/GMT+3", False)),
        ("UTC", False),
    ],
)
def test_W014_a_zone_whose_clocks_are_put_back(
    zone: str, warns: bool, keep_in: Callable[[str], None]
) -> None:
    assert protection.check_time_zone() == []
    keep_in(zone)
    found = protection.check_time_zone()
    assert [message.id for message in found] == ["tokens.W014"] * warns
    assert all(zone in message.msg for message in found)


def test_W014_is_silent_where_moments_are_kept_as_they_are(
    settings: Any, monkeypatch: pytest.MonkeyPatch, keep_in: Callable[[str], None]
) -> None:
    if TAKES_NAIVE:
        monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", "Europe/Berlin")
    else:
        settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    vars(connections["default"]).pop("timezone_name", None)
    assert protection.check_time_zone() == []
    moment = clock.now()
    assert clock.floor(moment, "default") == clock.latest(moment, "default") == moment


# The arithmetic


@pytest.mark.any_database
@pytest.mark.parametrize("name", JUMPS)
def test_what_was_written_and_what_was_taken(name: str) -> None:
    zone, moment = ZoneInfo(JUMPS[name][0]), JUMPS[name][1]
    local = moment.astimezone(zone).replace(tzinfo=None)

    def read(later: datetime) -> datetime:
        """Return what PostgreSQL reads where clock times that are skipped are kept as later."""
        return later.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None)

    written, taken = Written(zone), Taken(zone)
    clock_times = {one: one.astimezone(zone).replace(tzinfo=None) for one in around(moment)}
    for one in clock_times:
        floor = written.floor(one).astimezone(zone).replace(tzinfo=None)
        assert floor <= min(time for later, time in clock_times.items() if later >= one)
        first = clock_times[one].replace(tzinfo=zone).astimezone(UTC)
        assert one in written.meanings(first)
        assert list(written.meanings(first)) == sorted(written.meanings(first))
    for one in around(local):
        assert read(taken.floor(one)) <= min(read(later) for later in around(local) if later >= one)
        assert one in taken.meanings(read(one))
        assert list(taken.meanings(one)) == sorted(taken.meanings(one))


@pytest.mark.any_database
def test_zones_that_jump() -> None:
    assert jumps(ZoneInfo("Australia/Lord_Howe"))
    assert not jumps(UTC)
