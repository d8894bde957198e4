from datetime import UTC, datetime, timedelta, timezone

import pytest

from tokens import formats

pytestmark = pytest.mark.any_database


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows"), (0.5, "0.5 rows")],
)
def test_a_number_is_followed_by_its_noun(number: float, said: str) -> None:
    assert formats.count(number, "row") == said


def test_an_irregular_plural_may_be_given() -> None:
    assert [formats.count(n, "entry", "entries") for n in (1, 3)] == ["1 entry", "3 entries"]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 1, 31, 12, 0, 7, 999_999, tzinfo=UTC).replace(tzinfo=None),
        datetime(2030, 1, 31, 12, 0, 7, tzinfo=UTC),
        datetime(2030, 1, 31, 14, 0, 7, tzinfo=timezone(timedelta(hours=2))),
    ],
    ids=["naive", "UTC", "elsewhere"],
)
def test_a_moment_is_shown_in_utc(moment: datetime) -> None:
    assert formats.moment(moment) == "2030-01-31 12:00:07 UTC"


def test_no_moment_is_never() -> None:
    assert formats.moment(None) == "never"
