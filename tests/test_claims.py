from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens import clock
from tokens.claims import Claims
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
