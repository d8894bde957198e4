from datetime import timedelta

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
        ("24H", DAY),
        ("1d", DAY),
        ("366d", 366 * DAY),
        ("1h30m", 90 * MINUTE),
        ("1d12h", 36 * HOUR),
        ("1.5h", 90 * MINUTE),
        ("12:00:00", 12 * HOUR),
        ("00:00:01", SECOND),
        ("1 12:00:00", 36 * HOUR),
        ("PT24H", DAY),
        ("P1D", DAY),
        ("P1DT2H", 26 * HOUR),
    ],
)
def test_a_duration_is_read(text, duration):
    assert durations.parse(text) == duration
    assert durations.interval(text) == duration


@pytest.mark.parametrize("text", ["90", "1.5", "9" * 5_000], ids=["90", "1.5", "long"])
def test_a_number_alone_is_refused_because_nobody_knows_the_unit(text):
    with pytest.raises(
        ValueError, match=r"has no unit: is it (90s, 90m or 90h|1.5s, 1.5m or 1.5h)\?$"
    ):
        durations.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "h",
        "soon",
        "12:30",
        "-5m",
        "-PT1H",
        "1m1h",
        "1h 30m",
        "1..5h",
        "P1Y",
        "1h\n",
        "٣h",
        "9" * 5_000 + "h",
        "99999999999d",
        "1:2:3:4",
        "1e3s",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_duration_is_refused_with_examples(text):
    with pytest.raises(ValueError, match=r"is no duration: write it like 45s, 90m") as error:
        durations.parse(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("text", ["0s", "0.9s", "366d1s", "P367D", "-1:00:00", "P", "PT"])
def test_what_is_too_short_or_too_long_is_refused(text):
    with pytest.raises(ValueError, match=r"is not from 1 second to 366 days"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("value", "duration"), [(DAY, DAY), (90, 90 * SECOND), (1.5, timedelta(milliseconds=1_500))]
)
def test_from_python_a_timedelta_or_seconds_will_do(value, duration):
    assert durations.interval(value) == duration


@pytest.mark.parametrize(
    "value",
    [True, None, [1], 0, -1, 0.5, 1e300, float("nan"), float("inf"), timedelta.max, -DAY],
    ids=repr,
)
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match=r"is no duration|is not from 1 second to 366 days"):
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
def test_a_duration_is_said_in_the_largest_unit_that_divides_it(duration, words, every):
    assert durations.words(duration) == words
    assert durations.every(duration) == every
