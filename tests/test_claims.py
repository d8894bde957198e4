from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokens.claims
from tokens import clock
from tokens.claims import Claims, read
from tokens.exceptions import TokenMalformed
from tokens.keys import new_sid

pytestmark = pytest.mark.any_database

PAYLOAD = {"jti": "j", "exp": 2_000_000_000, "iat": 1_900_000_000, "user_id": "7"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)


def claims(**changes: Any) -> Claims:
    payload = {name: value for name, value in (PAYLOAD | changes).items() if value is not ...}
    return Claims.of(SimpleNamespace(payload=payload))


def test_claims_are_read_and_typed() -> None:
    sid = new_sid()
    assert claims(sid=sid) == Claims(
        jti="j",
        sid=sid,
        user_id="7",
        issuer="",
        issued_at=datetime.fromtimestamp(1_900_000_000, UTC),
        expires_at=datetime.fromtimestamp(2_000_000_000, UTC),
        needs_session=True,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"jti": ...},
        {"jti": None},
        {"jti": ""},
        {"jti": 5},
        {"jti": ["j"]},
        {"jti": "a\x00b"},
        {"jti": "\ud800"},
        {"jti": "x" * 256},
        {"exp": ...},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": 253402300800},
        {"exp": -1},
        {"iat": -1e300},
        {"iat": "now"},
        {"iat": None},
        {"iss": 5},
        {"user_id": 1.5},
        {"user_id": True},
        {"user_id": "9" * 256},
        {"user_id": 10**300},
        {"user_id": "7\x00"},
        {"user_id": "\ud800"},
        {"user_id": ["7"]},
        {"refresh_exp": "late"},
    ],
    ids=str,
)
def test_a_claim_of_the_wrong_kind_makes_the_token_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenMalformed):
        claims(**changes)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*PAYLOAD, "sid", "iss", "refresh_exp"]), JSON))
def test_any_payload_is_either_read_or_malformed(changes: dict[str, Any]) -> None:
    try:
        result = claims(**changes)
    except TokenMalformed:
        return
    assert clock.from_epoch(0) <= result.expires_at <= clock.END_OF_TIME


def test_an_end_at_the_edge_of_what_databases_store_is_the_end_of_time() -> None:
    assert claims(exp=253402300799).expires_at == clock.END_OF_TIME
    assert claims(exp=253402300799, refresh_exp=253402300799).expires_at == clock.END_OF_TIME


def test_a_sliding_token_may_have_a_lifetime_of_its_own() -> None:
    limit = 2_000_100_000
    day = {"exp": PAYLOAD["iat"] + 86400, "refresh_exp": limit}
    assert claims(**day).expires_at == clock.from_epoch(limit + 86400)


def test_only_an_access_token_of_ours_that_lives_longer_needs_its_session() -> None:
    sid = new_sid()
    usual = {"sid": sid, "token_type": "access", "exp": PAYLOAD["iat"] + 300}
    assert not claims(**usual).needs_session
    assert claims(**usual | {"exp": PAYLOAD["iat"] + 301}).needs_session
    assert claims(**usual | {"iat": ...}).needs_session
    longer = usual | {"exp": PAYLOAD["iat"] + 301}
    assert not claims(**longer | {"token_type": "refresh"}).needs_session
    assert not claims(**longer | {"sid": ...}).needs_session
    assert not claims(**longer | {"sid": "of another issuer"}).needs_session


def test_a_user_id_written_as_a_number_is_the_same_user() -> None:
    assert claims(user_id=7).user_id == "7"


def test_a_token_without_iat_counts_as_issued_before_everything() -> None:
    assert claims(iat=...).issued_at == clock.from_epoch(0)


def test_a_fraction_of_iat_is_dropped() -> None:
    assert claims(iat=1_900_000_000.9).issued_at == clock.from_epoch(1_900_000_000)


def test_the_issuer_is_the_configured_one_before_that_of_the_token(settings: Any) -> None:
    assert claims(iss="them").issuer == "them"
    settings.SIMPLE_JWT = {**settings.SIMPLE_JWT, "ISSUER": "us"}
    assert claims(iss="them").issuer == "us"
    assert claims().issuer == "us"


def test_a_sliding_token_lasts_a_lifetime_and_a_leeway_beyond_its_refresh_limit(
    settings: Any,
) -> None:
    settings.SIMPLE_JWT = {"LEEWAY": 60, "SLIDING_TOKEN_LIFETIME": timedelta(minutes=5)}
    limit = 2_000_100_000
    usual = {"exp": PAYLOAD["iat"] + 300, "refresh_exp": limit}
    assert claims(**usual).expires_at == clock.from_epoch(limit + 60 + 300)


def token(**changes: Any) -> Any:
    payload = {name: value for name, value in (PAYLOAD | changes).items() if value is not ...}
    return SimpleNamespace(payload=payload)


def test_claims_that_come_again_are_not_read_again() -> None:
    first, second = read(token(jti="again")), read(token(jti="again"))
    assert second is first
    assert read(token(jti="again", own="claim")) is not first
    assert read(token(jti="another")).claims.jti == "another"


def test_what_was_read_does_not_change_with_the_token() -> None:
    one = token(jti="mine")
    found = read(one)
    one.payload["exp"] += 1
    assert found.payload["exp"] == PAYLOAD["exp"]
    assert read(one).claims.expires_at == clock.from_epoch(PAYLOAD["exp"] + 1)
    assert read(token(jti="mine")).claims.expires_at == clock.from_epoch(PAYLOAD["exp"])


def test_what_was_read_under_other_settings_does_not_count(settings: Any) -> None:
    sid, other = new_sid(), new_sid()
    values = {"sid": sid, "own": other, "id": "other", "user": "8", "token_type": "access"}
    assert read(token(**values)).claims.sid == sid
    settings.TOKENS_SESSION_CLAIM = "own"
    assert read(token(**values)).claims.sid == other
    settings.SIMPLE_JWT = {"JTI_CLAIM": "id", "USER_ID_CLAIM": "user", "ISSUER": "us"}
    found = read(token(**values)).claims
    assert (found.jti, found.user_id, found.issuer) == ("other", "8", "us")
    settings.SIMPLE_JWT["ACCESS_TOKEN_LIFETIME"] = timedelta(days=10_000)  # in place
    assert (found.needs_session, read(token(**values)).claims.needs_session) == (True, False)
    settings.USE_TZ = not settings.USE_TZ
    again = read(token(**values)).claims
    assert (found.issued_at.tzinfo is None) is not (again.issued_at.tzinfo is None)


@pytest.mark.parametrize(
    ("fine", "odd"),
    [
        ({"user_id": 1}, {"user_id": True}),
        ({"user_id": 7}, {"user_id": 7.0}),
        ({"iat": 1}, {"iat": True}),
        ({"iat": 0}, {"iat": False}),
        ({"exp": 1}, {"exp": True}),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_not_taken_for_the_one_that_it_equals(
    fine: dict[str, Any], odd: dict[str, Any]
) -> None:
    assert read(token(**fine))
    with pytest.raises(TokenMalformed):
        read(token(**odd))
    assert read(token(**fine))


@pytest.mark.parametrize("claim", ["jti", "user_id", "sid", "iat", "exp", "token_type"])
def test_a_value_that_has_no_hash_is_read_like_any_other(claim: str) -> None:
    if claim in ("sid", "token_type"):
        assert read(token(**{claim: ["x"]})).claims.sid is None
    else:
        with pytest.raises(TokenMalformed):
            read(token(**{claim: ["x"]}))


@pytest.mark.parametrize(
    "own",
    [{"big": "x" * 600}, {"list": [1]}, {str(number): 1 for number in range(20)}, {"iat": 1.5}],
    ids=["text", "list", "many", "fraction"],
)
def test_what_is_large_or_unusual_is_not_kept(own: dict[str, Any]) -> None:
    assert read(token(jti="odd", **own)) is not read(token(jti="odd", **own))


def test_a_refresh_token_is_not_kept_because_it_seldom_comes_again() -> None:
    once = token(jti="once", token_type="refresh")
    assert read(once).claims == read(once).claims
    assert read(once) is not read(once)
    access = token(jti="often", token_type="access")
    assert read(access) is read(access)


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens.claims, "_MOST_KNOWN", 3)
    for number in range(10):
        assert read(token(jti=f"t{number}")).claims.jti == f"t{number}"
        assert len(tokens.claims._known) <= 3 or number < 1
    assert read(token(jti="t9")) is read(token(jti="t9"))


@given(st.dictionaries(st.sampled_from([*PAYLOAD, "sid", "iss", "refresh_exp", "own"]), JSON))
def test_whatever_was_read_before_means_what_it_means_now(changes: dict[str, Any]) -> None:
    one = token(**changes)
    for _ in range(2):
        try:
            expected = Claims.of(one)
        except TokenMalformed:
            with pytest.raises(TokenMalformed):
                read(one)
        else:
            assert read(one).claims == expected


def test_a_sliding_token_has_the_lifetime_of_its_class_each_time() -> None:
    payload = PAYLOAD | {"refresh_exp": 2_000_100_000, "exp": PAYLOAD["iat"] + 60}
    ends = [
        Claims.of(SimpleNamespace(payload=payload, lifetime=timedelta(hours=hours))).expires_at
        for hours in (1, 2, 1)
    ]
    assert ends == [clock.from_epoch(2_000_100_000 + hours * 3600) for hours in (1, 2, 1)]
