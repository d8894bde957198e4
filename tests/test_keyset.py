"""The compact set answers as a set of Python does, in a fraction of the memory."""

import gc
import random
import tracemalloc
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens.snapshot.keyset import KeySet

pytestmark = pytest.mark.any_database

MILLION = 1_000_000

numbers = st.integers(min_value=1, max_value=2**64 - 1)
# Equal low bits: all of them begin at the same slot.
colliding = st.integers(min_value=1, max_value=63).map(lambda high: high << 58)


@given(st.lists(numbers | colliding), st.lists(numbers | colliding))
def test_it_answers_as_a_set_does(members: list[int], others: list[int]) -> None:
    keys = KeySet(array("Q", members))
    assert len(keys) == len(set(members))
    for number in [*members, *others]:
        assert keys.isdisjoint([number]) == (number not in set(members))
    assert keys.isdisjoint(others) == set(members).isdisjoint(others)


def test_an_empty_one_holds_nothing() -> None:
    assert KeySet(array("Q")).isdisjoint([1])
    assert len(KeySet(array("Q"))) == 0


@pytest.mark.parametrize("members", [4, 5, 8, 1000])
def test_neighbours_in_a_full_table_are_found(members: int) -> None:
    keys = KeySet(array("Q", range(1, members + 1)))
    assert not any(keys.isdisjoint([number]) for number in range(1, members + 1))
    assert keys.isdisjoint([members + 1])


def test_a_sixteenth_of_a_million_fits_into_two_megabytes() -> None:
    """So do a million into 32: the slots double, so a sixteenth leaves the same share free."""
    draw = random.Random(5)  # noqa: S311 (no secret)
    members = array("Q", (draw.getrandbits(64) | 1 for _ in range(MILLION // 16)))
    gc.collect()
    tracemalloc.start()
    try:
        keys = KeySet(members)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept <= 32_000_000 // 16
    assert peak <= 32_000_000 // 16
    assert keys.memory <= kept
    assert not any(keys.isdisjoint([number]) for number in members[::60])
