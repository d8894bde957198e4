"""A copy of the feed decides as the app does, or not at all."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from hypothesis import given
from hypothesis import strategies as st

from tokens import blacklist, clock, keys, sessions
from tokens.claims import Claims
from tokens.exceptions import TokenMalformed
from tokens.feed import FeedError, NotCovered, clocks, fingerprints
from tokens.feed.copy import ClockSetBack, Copy, merged
from tokens.jwt import AccessToken, RefreshToken, SlidingToken
from tokens.models import BlacklistEntry, TokenSession

from .conftest import DAY, HOUR, MINUTE, SECOND
from .services import Machine, Service
from .test_claims import JSON

# What other issuers call a session.
FOREIGN_SIDS = [str(keys.uuid7()), str(uuid.uuid4()), "08a5019c-17e1-4977-8f42-65a12843ea02"]

TEXT = st.text(st.characters(exclude_categories=()), max_size=20)


@pytest.mark.any_database
@given(scope=st.sampled_from(["token", "user"]), subject=TEXT, issuer=TEXT)
def test_fingerprints_are_those_of_the_app(scope: str, subject: str, issuer: str) -> None:
    key = keys.key_for(scope, subject, issuer=issuer)
    assert fingerprints.of(scope, subject, issuer=issuer) == keys.fingerprint(key)


@pytest.mark.any_database
def test_ids_of_sessions_are_told_from_others_as_the_app_does() -> None:
    for _ in range(100):
        sid = keys.new_sid()
        number, _ = keys.fingerprints_of(sid, "", "")
        assert fingerprints.of_session(sid) == number
        assert fingerprints.of_session(sid.upper()) is None
        assert fingerprints.of_session(f"{sid[:-1]}{(int(sid[-1], 16) + 1) % 16:x}") is None
    for other in (*FOREIGN_SIDS, None, 1, ["a"], "", sid[:-1]):
        assert fingerprints.of_session(other) is None


def copy_of(answer: Any, before: Copy | None = None) -> Copy:
    assert answer.status_code == 200, answer.content
    now = clocks.now()
    return merged(before, answer.json(), started=now, ended=now)


def read_feed() -> Copy:
    return copy_of(Service(Machine()).feed())


def verdict(copy: Copy, payload: dict[str, Any]) -> bool | None:
    """Return what a copy says of a token, and None if it says nothing."""
    try:
        return copy.refuses(json.loads(json.dumps(payload)))
    except NotCovered:
        return None


def of_a_login(user: AbstractUser) -> Any:
    return RefreshToken.for_user(user).access_token


def without_a_session(user: AbstractUser) -> Any:
    return AccessToken.for_user(user)


def of_nobody(_user: AbstractUser) -> Any:
    return AccessToken()


def with_a_foreign_sid(user: AbstractUser) -> Any:
    token = AccessToken.for_user(user)
    token["sid"] = FOREIGN_SIDS[0]
    return token


def of_another_issuer(user: AbstractUser) -> Any:
    token = AccessToken.for_user(user)
    token["iss"] = "https://other.example"
    return token


def with_a_number_for_its_user(user: AbstractUser) -> Any:
    token = AccessToken.for_user(user)
    token["user_id"] = user.pk
    return token


YOUNG = [
    of_a_login,
    without_a_session,
    of_nobody,
    with_a_foreign_sid,
    of_another_issuer,
    with_a_number_for_its_user,
]


def living_long(user: AbstractUser) -> Any:
    token = of_a_login(user)
    token.set_exp(lifetime=HOUR)
    return token


def old(user: AbstractUser) -> Any:
    token = of_a_login(user)
    token.set_iat(at_time=clock.now() - 30 * MINUTE)
    return token


def living_long_and_old_without_a_session(user: AbstractUser) -> Any:
    token = AccessToken.for_user(user)
    token.set_iat(at_time=clock.now() - 30 * MINUTE)
    token.set_exp(lifetime=DAY)
    return token


def without_iat(user: AbstractUser) -> Any:
    token = of_a_login(user)
    del token.payload["iat"]
    return token


# What no copy can decide about.
OTHERS = [living_long, old, living_long_and_old_without_a_session, without_iat]
OTHERS += [RefreshToken.for_user, SlidingToken.for_user]

REVOKE: dict[str, Callable[[Any, AbstractUser], object]] = {
    "nothing": lambda _token, _user: None,
    "this token": lambda token, _user: blacklist.revoke_token(token.claims),
    "its session": lambda token, _user: sessions.end(token.claims),
    "all of its user": lambda _token, user: sessions.end_all(user),
    "all others": lambda token, user: sessions.end_all(user, but=token.claims.sid or ""),
    "another session": lambda _token, user: sessions.end(RefreshToken.for_user(user).claims),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("revoke", REVOKE.values(), ids=REVOKE)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, marks=[] if make is of_a_login else pytest.mark.any_database)
        for make in (*YOUNG, *OTHERS)
    ],
)
def test_a_copy_decides_as_the_blacklist_does(
    make: Callable[[AbstractUser], Any],
    revoke: Callable[[Any, AbstractUser], object],
    user: AbstractUser,
    make_user: Callable[..., AbstractUser],
) -> None:
    token, neighbour = make(user), make(make_user("bob"))
    before = read_feed()
    revoke(token, user)
    copies = [read_feed(), copy_of(Service(Machine()).feed(since=before.cursor), before)]
    refused = {id(one): blacklist.is_revoked(one.claims) for one in (token, neighbour)}
    for copy in copies:
        for one in (token, neighbour):
            said = verdict(copy, one.payload)
            if make in YOUNG:
                assert said is refused[id(one)]
            else:
                assert said is None or said is refused[id(one)] is True
    assert not refused[id(neighbour)]


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_a_token_that_says_it_lives_too_long_is_refused(user: AbstractUser) -> None:
    token = AccessToken.for_user(user)
    token.set_exp(lifetime=401 * DAY)
    assert verdict(read_feed(), token.payload) is True is blacklist.is_revoked(token.claims)


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_a_token_made_from_a_refresh_token_that_was_verified_before_is_left_out(
    user: AbstractUser,
) -> None:
    """Its lifetime begins when the refresh token was verified, which its ``iat`` does not say."""
    token = of_a_login(user)
    token.set_exp(from_time=clock.now() - 20 * MINUTE, lifetime=5 * MINUTE)
    assert verdict(read_feed(), token.payload) is None


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
def test_names_and_lifetimes_are_those_of_the_project(user: AbstractUser, settings: Any) -> None:
    settings.TOKENS_SESSION_CLAIM = "login"
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {
        "JTI_CLAIM": "id",
        "USER_ID_CLAIM": "who",
        "ISSUER": "https://we.example",
        "ACCESS_TOKEN_LIFETIME": HOUR,
    }
    now = clock.to_epoch(clock.now())
    payload = {"iss": "https://we.example", "iat": now, "exp": now + 3600, "token_type": "access"}
    sid = keys.new_sid()
    first = payload | {"id": "a", "who": "1", "login": sid}
    second = payload | {"id": "b", "who": str(user.pk)}
    third = payload | {"id": "c", "who": "3", "sid": sid}  # from before the claim was renamed
    for one in (first, second, third):
        assert verdict(read_feed(), one) is False
    blacklist.revoke_session(sid, expires_at=clock.now() + DAY)
    sessions.end_all(user)
    copy = read_feed()
    for one in (first, second, third):
        assert verdict(copy, one) is True is blacklist.is_revoked(Claims.of(one))
    assert verdict(copy, payload | {"id": "d", "who": "424242"}) is False
    blacklist.revoke_token(Claims.of(payload | {"id": "d", "who": "424242"}))
    assert verdict(read_feed(), payload | {"id": "d", "who": "424242"}) is True


@pytest.mark.django_db(transaction=True)
def test_a_tie_refuses(user: AbstractUser) -> None:
    sessions.end_all(user)
    [entry] = BlacklistEntry.objects.filter(scope="user")
    assert entry.issued_before is not None
    until = clock.to_epoch(entry.issued_before)
    for iat, refused in ((until - 1, True), (until, True), (until + 1, False)):
        token = AccessToken.for_user(user)
        token["iat"] = iat
        assert verdict(read_feed(), token.payload) is refused
        assert blacklist.is_revoked(token.claims) is refused


@pytest.mark.django_db(transaction=True)
def test_the_keys_that_an_answer_adds_stay_until_the_next_complete_one(user: AbstractUser) -> None:
    tokens = [of_a_login(user) for _ in range(3)]
    copy = read_feed()
    for number, token in enumerate(tokens):
        token.blacklist()
        copy = copy_of(Service(Machine()).feed(since=copy.cursor), copy)
        BlacklistEntry.objects.update(created_at=clock.now() - 30 * SECOND)  # not sent again
        seen = [verdict(copy, one.payload) for one in tokens]
        assert seen == [one <= number for one in range(3)]
    assert len(copy.newer) == 3
    copy = copy_of(Service(Machine()).feed(), copy)
    assert (len(copy.newer), len(copy.keys)) == (0, 3)
    assert not TokenSession.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_complete_answer_that_comes_late_keeps_what_came_meanwhile_and_drops_what_is_gone(
    user: AbstractUser,
) -> None:
    gone, kept, young = (of_a_login(user) for _ in range(3))
    copy = read_feed()
    for token in (gone, kept):
        token.blacklist()
    copy = copy_of(Service(Machine()).feed(since=copy.cursor), copy).awaiting()
    blacklist.unrevoke(BlacklistEntry.objects.filter(key=gone["sid"]), by=user)
    complete = read_feed()
    young.blacklist()
    BlacklistEntry.objects.exclude(key=young["sid"]).update(created_at=clock.now() - 30 * SECOND)
    copy = copy_of(Service(Machine()).feed(since=copy.cursor), copy)
    assert [verdict(copy, one.payload) for one in (gone, kept, young)] == [True] * 3
    copy = copy.completed(complete)
    assert [verdict(copy, one.payload) for one in (gone, kept, young)] == [False, True, True]


# Answers that can't be used

ANSWER: dict[str, Any] = {
    "version": 1,
    "complete": True,
    "now": 1_900_000_000.0,
    "cursor": "1-1",
    "covers_from": 1_899_999_000,
    "users_from": 1_899_999_000,
    "rules": {
        "access_lifetime": 300.0,
        "longest_lifetime": 3e7,
        "issuer": None,
        "jti_claim": "jti",
        "type_claim": "token_type",
        "user_id_claim": "user_id",
        "refresh_exp_claim": "refresh_exp",
        "session_claims": ["sid"],
    },
    "users": {},
    "keys": "",
}


def merge(
    before: Copy | None = None, *, at: float = 0.0, took: float = 0.0, **changes: Any
) -> Copy:
    started = clocks.Moment(1000 + at, time.time())
    ended = clocks.Moment(1000 + at + took, time.time())
    return merged(before, ANSWER | changes, started=started, ended=ended)


@pytest.mark.any_database
@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"complete": False},
        {"keys": "AAAA"},  # no whole key
        {"keys": "?" * 11 + "="},
        {"keys": 5},
        {"keys": None},
        {"covers_from": None},
        {"now": "now"},
        {"users": ["a"]},
        {"users": {"xyz": 1}},
        {"users": {"ff": None}},
        {"rules": None},
        {"rules": {}},
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FeedError):
        merge(**changes)


SLOW = 3.0  # seconds


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("now", "first", "second", "found"),
    [
        (10.0, 0.0, 0.0, "sure"),
        (7.6, 0.0, 0.0, "sure"),
        (7.4, 0.0, 0.0, "set back"),
        (-3600.0, 0.0, 0.0, "set back"),
        (-3600.0, SLOW, SLOW, "set back"),
        # Nobody knows at which moment a slow answer was right.
        (10.0, SLOW, 0.0, "sure"),
        (10.0, 0.0, SLOW, "unsure"),
        (7.0, 0.0, SLOW, "set back"),
        (7.0, SLOW, 0.0, "unsure"),
    ],
)
def test_a_clock_that_was_set_back_is_noticed(
    now: float, first: float, second: float, found: str
) -> None:
    """Entries made since may have moments that the next answer does not reach back to."""
    before = merge(took=first)
    assert before.is_sure
    later: dict[str, Any] = {"complete": False, "covers_from": None, "now": ANSWER["now"] + now}
    if found == "set back":
        with pytest.raises(ClockSetBack):
            merge(before, at=10.0, took=second, **later)
        return
    after = merge(before, at=10.0, took=second, **later)
    assert after.covers_from == ANSWER["covers_from"]
    assert after.is_sure is (found == "sure")
    again = merge(after, at=20.0, **later | {"now": later["now"] + 10.0})
    assert not again.is_sure or found == "sure"  # until a complete answer has come
    assert again.awaiting().is_sure


@pytest.mark.any_database
@given(
    st.dictionaries(
        st.sampled_from(["jti", "exp", "iat", "iss", "user_id", "sid", "token_type"]), JSON
    )
)
def test_any_claims_are_refused_or_left_out_if_the_app_finds_them_malformed(
    payload: dict[str, Any],
) -> None:
    try:
        Claims.of(payload)
    except TokenMalformed:
        assert verdict(merge(), payload) is True
    else:
        verdict(merge(), payload)


@pytest.mark.any_database
@given(st.dictionaries(st.sampled_from(["jti", "exp", "iat", "iss", "user_id", "sid"]), JSON))
def test_odd_claims_beside_usual_ones_are_read_as_the_app_does(changes: dict[str, Any]) -> None:
    usual = {"jti": "a", "exp": 1_899_999_300, "iat": 1_899_999_000, "user_id": "1"}
    try:
        Claims.of(usual | changes)
    except TokenMalformed:
        assert verdict(merge(), usual | changes) is True


@pytest.mark.any_database
def test_what_is_read_as_usual_is_accepted() -> None:
    payload = {"jti": "a", "exp": 1_899_999_300, "iat": 1_899_999_000, "user_id": "1"}
    assert verdict(merge(), payload) is False
    assert verdict(merge(users_from=None), payload) is None
    assert verdict(merge(users_from=1_899_999_001), payload) is None
    assert verdict(merge(covers_from=1_899_999_001), payload) is None
    assert verdict(merge(), payload | {"exp": 1_899_999_299}) is None
    assert timedelta(seconds=ANSWER["rules"]["access_lifetime"]) == 5 * MINUTE
