from datetime import timedelta
from typing import Any

import pytest

from tokens.schedule import durations

pytestmark = pytest.mark.any_database

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3_600, 86_400))


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("45s", 45 * SECOND),
        ("90m", 90 * MINUTE),
        ("24h", DAY),
        ("1d", DAY),
        ("007d", 7 * DAY),
        ("366d", 366 * DAY),
        ("1h30m", 90 * MINUTE),
        ("1d12h", 36 * HOUR),
        ("1d2h3m4s", DAY + 2 * HOUR + 3 * MINUTE + 4 * SECOND),
    ],
)
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert durations.parse(text) == duration
    assert durations.interval(text) == duration


@pytest.mark.parametrize("text", ["90", "9" * 5_000], ids=["90", "long"])
def test_a_number_alone_is_refused_because_nobody_knows_the_unit(text: str) -> None:
    with pytest.raises(ValueError, match=r"has no unit: is it 90s, 90m or 90h\?$") as error:
        durations.parse(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            " ",
            "h",
            "soon",
            "24H",
            "1.5h",
            "1.5",
            "-5m",
            "1m1h",
            "1h 30m",
            "1h1h",
            "1h\n",
            "٣h",
        ],
        *["12:00:00", "12:30", "PT24H", "P1D", "9" * 5_000 + "h", "999999999d", "1e3s", "²", "٣"],
    ],
    ids=lambda text: repr(text[:12]),
)
def test_any_other_spelling_is_refused_with_examples(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not a duration: write it like 45s, 90m, 24h, 1d or 1h30m\.$"
    ) as error:
        durations.parse(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("text", ["0s", "0d0h0m0s", "366d1s", "367d", "99999999d99999999h"])
def test_what_is_too_short_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not between 1 second and 366 days\.$"):
        durations.parse(text)


@pytest.mark.parametrize("duration", [SECOND, DAY, timedelta(milliseconds=1_500), 366 * DAY])
def test_from_python_a_timedelta_will_do(duration: timedelta) -> None:
    assert durations.interval(duration) == duration


@pytest.mark.parametrize("duration", [timedelta(0), SECOND / 2, timedelta.max, -DAY], ids=repr)
def test_a_timedelta_has_the_same_limits(duration: timedelta) -> None:
    with pytest.raises(ValueError, match=r"is not between 1 second and 366 days\.$"):
        durations.interval(duration)


@pytest.mark.parametrize("value", [90, 1.5, True, None, [1], float("nan")], ids=repr)
def test_a_number_of_python_is_refused_because_nobody_knows_the_unit(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^An interval is a timedelta or a text like 24h"):
        durations.interval(value)


@pytest.mark.parametrize(
    ("duration", "words", "every"),
    [
        (DAY, "24 hours", "every 24 hours"),
        (2 * DAY, "2 days", "every 2 days"),
        (36 * HOUR, "36 hours", "every 36 hours"),
        (HOUR, "1 hour", "every hour"),
        (90 * MINUTE, "90 minutes", "every 90 minutes"),
        (MINUTE, "1 minute", "every minute"),
        (45 * SECOND, "45 seconds", "every 45 seconds"),
        (SECOND, "1 second", "every second"),
        (timedelta(milliseconds=100), "0.1 seconds", "every 0.1 seconds"),
        (100_000 * SECOND, "100,000 seconds", "every 100,000 seconds"),
        (timedelta(0), "0 seconds", "every 0 seconds"),
    ],
    ids=lambda value: str(value),
)
def test_a_duration_is_said_in_the_largest_unit_that_divides_it(
    duration: timedelta, words: str, every: str
) -> None:
    assert durations.words(duration) == words
    assert durations.every(duration) == every
