"""The feed of what was revoked lately, as other services get it."""

import itertools
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError, connection, transaction
from django.db.models import F

from tokens import blacklist, clock, mass_logout, old_tables, sessions
from tokens.jwt import AccessToken, RefreshToken
from tokens.keys import fingerprint, key_for, new_sid
from tokens.models import BlacklistEntry
from tokens.snapshot import Limits, publish

from .conftest import DAY, SECOND
from .services import Machine, Service, make_service
from .threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

FEED = "/api/revocations/"


@pytest.fixture
def service() -> Service:
    return Service(Machine())


def keys_of(answer: Any) -> list[str]:
    raw = b64decode(answer.json()["keys"])
    return [raw[start : start + 8].hex() for start in range(0, len(raw), 8)]


def hexed(key: Any) -> str:
    return f"{fingerprint(key):016x}"


def revoke_session() -> str:
    """End a session, and return the key in the feed."""
    sid = new_sid()
    entry, _ = blacklist.revoke_session(sid, expires_at=clock.now() + DAY)
    return hexed(entry.key)


def users_key(user: AbstractUser) -> str:
    return hexed(key_for("user", str(user.pk), issuer=""))


def test_an_empty_feed_says_what_decides(service: Service) -> None:
    before = datetime.now(UTC).timestamp()
    answer = service.feed()
    after = datetime.now(UTC).timestamp()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert "no-store" in answer.headers["Cache-Control"]
    said = answer.json()
    assert list(said) == [
        *("version", "complete", "now", "cursor", "covers_from", "users_from"),
        *("rules", "users", "keys"),
    ]
    assert (said["version"], said["complete"], said["users"], said["keys"]) == (1, True, {}, "")
    assert said["rules"] == {
        "access_lifetime": 300,
        "longest_lifetime": 400 * 86_400,
        "issuer": None,
        "jti_claim": "jti",
        "type_claim": "token_type",
        "user_id_claim": "user_id",
        "refresh_exp_claim": "refresh_exp",
        "session_claims": ["sid"],
    }
    # Whole seconds on the one side, and another machine's clock on the other.
    assert before - 2 <= said["now"] <= after + 2
    # It decides about tokens that live for five minutes, while a copy gets older.
    assert said["covers_from"] <= said["now"] - 300 - 60
    assert said["users_from"] <= said["now"] - 300 - 60


def test_the_keys_of_tokens_and_sessions_are_there_in_order(
    service: Service, user: AbstractUser
) -> None:
    refresh = RefreshToken.for_user(user)
    refresh.blacklist()
    token = AccessToken.for_user(user)
    token.blacklist()
    found = keys_of(service.feed())
    assert found == sorted(found)
    assert set(found) == {
        refresh["sid"].replace("-", "")[16:],
        hexed(key_for("token", token["jti"], issuer="")),
    }


def test_a_user_who_is_logged_out_everywhere_is_there_with_the_moment(
    service: Service, user: AbstractUser
) -> None:
    sessions.end_all(user)
    [entry] = BlacklistEntry.objects.filter(scope="user")
    assert entry.issued_before is not None
    said = service.feed().json()
    assert said["users"] == {users_key(user): clock.to_epoch(entry.issued_before)}
    assert said["users_from"] <= clock.to_epoch(entry.issued_before)


def test_a_user_who_was_logged_out_long_ago_and_now_again_is_there(
    service: Service, user: AbstractUser
) -> None:
    """The entry keeps its ``created_at``: only its end tells that it was written again."""
    sessions.end_all(user)
    earlier = {name: F(name) - 30 * DAY for name in ("created_at", "issued_before", "expires_at")}
    BlacklistEntry.objects.update(**earlier)
    assert service.feed().json()["users"] == {}
    sessions.end_all(user)
    assert list(service.feed().json()["users"]) == [users_key(user)]
    BlacklistEntry.objects.update(**earlier)
    mass_logout.end_everybody(reason="command")
    assert users_key(user) in service.feed().json()["users"]


def test_of_very_many_users_the_latest_are_there(make_user: Callable[..., AbstractUser]) -> None:
    everybody = [make_user(f"user{number}") for number in range(4)]
    now = clock.now()
    for number, one in enumerate(everybody):
        sessions.end_all(one)
        moment = now - (10 * number) * SECOND
        BlacklistEntry.objects.filter(user=one).update(
            issued_before=moment, expires_at=moment + 400 * DAY
        )
    found = publish(None, using="default", limits=Limits(users=2))
    assert list(found.users.values()) == [clock.to_epoch(now - ago * SECOND) for ago in (0, 10)]
    # A token of the third one, who is left out, is older than what is decided about.
    assert found.users_from == clock.to_epoch(now - 20 * SECOND) + 1
    everything = publish(None, using="default", limits=Limits(users=4))
    assert len(everything.users) == 4
    assert everything.users_from is not None
    assert everything.users_from < clock.to_epoch(now - 300 * SECOND)


@pytest.mark.parametrize("longest", [None, timedelta(hours=1)])
def test_tokens_without_a_session_are_left_to_the_database_if_no_index_finds_their_users(
    longest: timedelta | None, service: Service, user: AbstractUser, settings: Any
) -> None:
    settings.TOKENS_LONGEST_LIFETIME = longest
    sessions.end_all(user)
    said = service.feed().json()
    assert (said["users_from"], said["users"]) == (None, {})


def test_so_they_are_while_simplejwts_tables_are_asked(service: Service) -> None:
    with patch.object(old_tables, "are_asked", return_value=True):
        assert service.feed().json()["users_from"] is None
    assert service.feed().json()["users_from"] is not None


def test_old_entries_are_left_out_and_covers_from_says_so(service: Service) -> None:
    old, young = revoke_session(), revoke_session()
    BlacklistEntry.objects.filter(key__endswith=old[-12:]).update(
        created_at=clock.now() - timedelta(hours=2)
    )
    answer = service.feed()
    assert keys_of(answer) == [young]
    assert answer.json()["covers_from"] > clock.to_epoch(clock.now()) - 7200


def test_with_more_entries_than_it_may_hold_it_covers_less(user: AbstractUser) -> None:
    for _ in range(30):
        revoke_session()
    now = clock.now()
    for number, entry in enumerate(BlacklistEntry.objects.order_by("key")):
        moment = now - number * SECOND
        BlacklistEntry.objects.filter(key=entry.key).update(created_at=moment)
    few = publish(None, using="default", limits=replace(Limits(), entries=10, slice=5, part=5))
    assert len(few.keys) == 10
    everything = publish(None, using="default")
    assert len(everything.keys) == 30
    assert few.covers_from is not None
    assert everything.covers_from is not None
    # The oldest of the ten, and the margin for clocks.
    assert abs(few.covers_from - (clock.to_epoch(now) - 9 + 305)) <= 1
    assert everything.covers_from < few.covers_from


# 304


def test_nothing_new_gives_304(service: Service) -> None:
    revoke_session()
    answer = service.feed()
    etag = answer.headers["ETag"]
    again = service.api.get(FEED, HTTP_IF_NONE_MATCH=etag)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert "no-store" in again.headers["Cache-Control"]
    assert service.api.get(FEED, HTTP_IF_NONE_MATCH=f'"x", {etag}').status_code == 304
    assert service.api.get(FEED, HTTP_IF_NONE_MATCH='W/"x"').status_code == 200
    head = service.api.head(FEED)
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", etag)


def change_lifetime(settings: Any, _user: AbstractUser) -> None:
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {"ACCESS_TOKEN_LIFETIME": timedelta(minutes=6)}


def change_users(settings: Any, _user: AbstractUser) -> None:
    settings.TOKENS_LONGEST_LIFETIME = None


def change_claim(settings: Any, _user: AbstractUser) -> None:
    settings.TOKENS_SESSION_CLAIM = "login"


def log_out_everywhere(_settings: Any, user: AbstractUser) -> None:
    sessions.end_all(user)


@pytest.mark.any_database
@pytest.mark.parametrize(
    "change",
    [
        change_lifetime,
        change_users,
        change_claim,
        log_out_everywhere,
        lambda _settings, _user: revoke_session(),
    ],
)
def test_whatever_changes_an_answer_changes_the_etag(
    change: Callable[[Any, AbstractUser], object],
    service: Service,
    user: AbstractUser,
    settings: Any,
) -> None:
    revoke_session()
    etag = service.feed().headers["ETag"]
    change(settings, user)
    assert service.api.get(FEED, HTTP_IF_NONE_MATCH=etag).status_code == 200


def test_what_is_un_revoked_vanishes(service: Service, user: AbstractUser) -> None:
    first, second = revoke_session(), revoke_session()
    answer = service.feed()
    assert sorted([first, second]) == keys_of(answer)
    entry = BlacklistEntry.objects.get(subject__endswith=first[-12:])
    blacklist.unrevoke([entry], by=user)
    again = service.api.get(FEED, HTTP_IF_NONE_MATCH=answer.headers["ETag"])
    assert again.status_code == 200
    assert keys_of(again) == [second]


# Only what is new


def aged(cursor: str, *, complete: int = 0, now: int = 0) -> str:
    """Return the cursor as it would be if its answers were so many seconds older."""
    first, second = map(int, cursor.split("-"))
    return f"{first - complete * 1_000_000}-{second - now * 1_000_000}"


def test_with_a_cursor_it_says_only_what_is_new(service: Service) -> None:
    revoke_session()
    BlacklistEntry.objects.update(created_at=clock.now() - 20 * SECOND)
    answer = service.feed()
    assert len(keys_of(answer)) == 1
    cursor = answer.json()["cursor"]
    newer = service.feed(since=cursor).json()
    assert (newer["complete"], newer["keys"], newer["covers_from"]) == (False, "", None)
    key = revoke_session()
    answer = service.feed(since=newer["cursor"])
    assert keys_of(answer) == [key]
    assert "ETag" not in answer.headers
    # Again, for it may have been committed late.
    assert keys_of(service.feed(since=answer.json()["cursor"])) == [key]
    assert keys_of(service.feed(since=cursor)) == [key]


def test_after_a_while_a_reader_gets_everything_again(service: Service) -> None:
    """So what was un-revoked vanishes, though nothing says so."""
    revoke_session()
    cursor = service.feed().json()["cursor"]
    for _ in range(2):
        answer = service.feed(since=aged(cursor, complete=500, now=2)).json()
        assert not answer["complete"]
        cursor, earlier = answer["cursor"], cursor
        assert cursor.split("-")[0] == aged(earlier, complete=500).split("-")[0]
        cursor = aged(cursor, complete=-500)
    assert service.feed(since=aged(cursor, complete=601, now=1)).json()["complete"]


def test_a_database_whose_clock_was_set_back_gives_everything_again(service: Service) -> None:
    revoke_session()
    cursor = service.feed().json()["cursor"]
    answer = service.feed(since=aged(cursor, complete=-3600, now=-3600))
    assert answer.json()["complete"]
    assert len(keys_of(answer)) == 1


@pytest.mark.any_database
@pytest.mark.parametrize(
    "cursor", ["", "x", "1", "-", "1-", "-1-2", "1-2-3", "1_0-2", "٣-٤", "9" * 18 + "-1", "1-2\n"]
)
def test_any_other_cursor_is_400(cursor: str, service: Service) -> None:
    answer = service.feed(since=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize("cursor", ["0-0", "2-1", f"{'9' * 17}-{'9' * 17}", f"0-{'9' * 17}"])
def test_a_cursor_that_nobody_gave_gives_everything(cursor: str, service: Service) -> None:
    key = revoke_session()
    answer = service.feed(since=cursor)
    assert (answer.json()["complete"], keys_of(answer)) == (True, [key])


def test_if_very_much_is_new_a_reader_gets_everything_again() -> None:
    cursor = publish(None, using="default").cursor
    for _ in range(12):
        revoke_session()
    found = publish(cursor, using="default", limits=replace(Limits(), entries=10, slice=5, part=5))
    assert found.is_complete


def test_an_entry_that_is_committed_late_is_not_missed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction was open for longer than a reader's answers go back."""
    cursor, elapsed = service.feed().json()["cursor"], clock.elapsed
    with transaction.atomic():
        key = revoke_session()
        BlacklistEntry.objects.update(created_at=clock.now() - 30 * SECOND)
        later = itertools.count(30, 0.001)
        monkeypatch.setattr(clock, "elapsed", lambda: elapsed() + next(later))
    monkeypatch.undo()
    assert keys_of(service.feed(since=cursor)) == [key]
    assert keys_of(service.feed()) == [key]


def test_what_is_not_committed_is_not_there(service: Service) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("a reader waits for the writer")
    with transaction.atomic():
        revoke_session()
        assert at_once(1, lambda: keys_of(service.feed())) == [[]]
    assert len(keys_of(service.feed())) == 1


# What it costs


@pytest.mark.skipif(connection.vendor == "sqlite", reason="reads on a connection of its own")
def test_an_answer_takes_three_statements_or_four(
    service: Service, statements: Callable[[], Any]
) -> None:
    for _ in range(20):
        revoke_session()
    cursor = service.feed().json()["cursor"]
    with statements() as ran:
        service.feed()
    assert len([one for one in ran if "SELECT" in one]) == 3, ran
    with statements() as ran:
        service.feed(since=cursor)
    assert len([one for one in ran if "SELECT" in one]) == 4, ran


@pytest.mark.any_database
def test_an_entry_takes_eleven_bytes_of_an_answer(service: Service) -> None:
    for _ in range(30):
        revoke_session()
    assert len(service.feed().json()["keys"]) == 30 * 8 * 4 // 3


# Where there is none


@pytest.mark.any_database
def test_a_database_that_does_not_answer_gives_503(service: Service) -> None:
    with patch("tokens.snapshot.recent.read", side_effect=DatabaseError):
        answer = service.feed()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["code"] == "service_unavailable"


@pytest.mark.any_database
def test_where_no_snapshot_can_be_there_is_no_feed(service: Service) -> None:
    with patch("tokens.snapshot.recent.obstacle", return_value="it keeps moments in local time"):
        answer = service.feed()
    assert answer.status_code == 501
    assert answer.json() == {"detail": "it keeps moments in local time", "code": "not_supported"}


@pytest.mark.any_database
def test_only_reading_is_allowed(service: Service) -> None:
    assert service.api.post(FEED, {}).status_code == 405


@pytest.mark.any_database
def test_the_right_is_asked_for() -> None:
    assert Service(make_service()).feed().status_code == 403
    assert Service(make_service("introspect_token", name="other")).feed().status_code == 200
