import sys
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens import keys
from tokens.keys import fingerprint, fingerprints_of, is_sid, key_for, new_sid, session_uuid, uuid7

UUID4 = "3f2b8c1e-9a4d-4e6f-8b7c-1d2e3f4a5b6c"
UUID7 = "019aa5c1-7b2e-7c4d-8f10-2233445566ff"
TEXT = st.text(st.characters(codec=None), max_size=300)  # lone surrogates too


def test_a_new_sid_is_a_canonical_uuid7() -> None:
    sid = new_sid()
    assert uuid.UUID(sid).version == 7
    assert str(uuid.UUID(sid)) == sid
    assert session_uuid(sid) == uuid.UUID(sid)


def test_sids_are_ordered_by_time_and_never_repeat() -> None:
    sids = [new_sid() for _ in range(1000)]
    assert len(set(sids)) == 1000
    assert sids == sorted(sids, key=lambda sid: sid[:13])  # its milliseconds


@pytest.mark.parametrize("tails", [range(0, 4000, 4), [0, 4, (1 << 32) - 1]])
def test_sids_differ_if_another_thread_or_process_counts_the_same(
    tails: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = uuid.UUID(UUID7).int >> 32 << 32
    numbers = [uuid.UUID(int=first | tail) for tail in tails]
    monkeypatch.setattr(keys, "uuid7", iter(numbers).__next__)
    sids = {new_sid() for _ in tails}
    assert len(sids) == len(tails)
    assert all(is_sid(sid) for sid in sids)
    assert {sid[:14] for sid in sids} == {UUID7[:14]}


def test_uuid7_is_pythons_own_where_there_is_one() -> None:
    assert uuid7.__module__ == ("uuid" if sys.version_info >= (3, 14) else "uuid6")


@pytest.mark.parametrize(
    "sid",
    ["", "7", "x" * 5000, UUID4, UUID7.upper(), UUID7.replace("-", ""), "\x00"],
)
def test_a_text_that_is_no_canonical_uuid7_names_no_session(sid: str) -> None:
    assert session_uuid(sid) is None
    assert not is_sid(sid)


def test_a_uuid7_of_somebody_else_is_no_sid() -> None:
    assert not any(is_sid(str(uuid7())) for _ in range(1000))
    assert all(is_sid(new_sid()) for _ in range(1000))
    sid = new_sid()
    for place in (0, 9, 16, 20, 30, 35):  # any digit but those of the version and the variant
        other = "0" if sid[place] != "0" else "1"
        assert not is_sid(sid[:place] + other + sid[place + 1 :])


@pytest.mark.parametrize("value", [None, 7, [], {}, b"x", uuid.UUID(int=0)])
def test_a_value_that_is_no_text_is_no_sid(value: object) -> None:
    assert not is_sid(value)


@given(TEXT, TEXT)
def test_any_text_has_a_key_of_version_8(issuer: str, subject: str) -> None:
    key = key_for("token", subject, issuer=issuer)
    assert key.version == 8
    assert key == key_for("token", subject, issuer=issuer)


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
def test_different_parts_have_different_keys(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    keys = [key_for(scope, subject, issuer=issuer) for scope, issuer, subject in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("token", "ab", "c"), ("token", "a", "bc")),
        (("token", "", "x"), ("user", "", "x")),
        (("token", "", "Jti"), ("token", "", "jti")),
        (("token", "", "jti"), ("token", "", "jti ")),
        (("token", "", "é"), ("token", "", "e")),
    ],
    ids=["joined", "scope", "letter case", "trailing blank", "accent"],
)
def test_what_a_collation_or_a_join_would_mix_up_stays_apart(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    keys = {key_for(scope, subject, issuer=issuer) for scope, issuer, subject in (one, other)}
    assert len(keys) == 2


@given(st.builds(new_sid), TEXT | st.builds(new_sid), TEXT)
def test_the_short_way_to_the_fingerprints_leads_to_the_same(
    sid: str, jti: str, issuer: str
) -> None:
    expected = [fingerprint(uuid.UUID(sid)), fingerprint(key_for("token", jti, issuer=issuer))]
    assert list(fingerprints_of(sid, jti, issuer)) == expected
    assert all(0 < number < 2**64 for number in expected)
