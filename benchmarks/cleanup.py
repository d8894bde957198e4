"""Removing what has expired: time, memory, statements, and for how long one statement works."""

from collections.abc import Iterator
from statistics import median
from subprocess import TimeoutExpired
from typing import Any

from benchmarks.contenders import OAUTH, OURS, SIMPLEJWT, Contender, Installation, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table

MOST_MEMORY = 20 * 2**20
_MOST_BATCH = 0.150  # seconds, on PostgreSQL
_MOST_PLAIN_DELETES = 3.0  # on PostgreSQL
# How many times as fast as simplejwt, and from how many rows on that is promised.
_LEAST_RATIO = {
    "PostgreSQL": (30, 1_000_000),
    "MariaDB": (5, 400_000),
    "SQLite": (3, 400_000),
}
_PATIENCE = 900.0  # seconds

# The names, and the ways of ``inside.clean``.
COMMAND, DELETE, FLUSH, CLEAR = (
    "cleanup_tokens",
    "plain DELETE",
    "flushexpiredtokens",
    "cleartokens",
)
_WAYS = {COMMAND: "ours", DELETE: "plain delete", FLUSH: "simplejwt", CLEAR: "oauth"}

# What must be left of the live ones, whose every fifth user did not log out.
_LEFT: dict[str, Any] = {
    OURS.name: lambda live: {"BlacklistEntry": live - -(-live // 5), "TokenSession": -(-live // 5)},
    SIMPLEJWT.name: lambda live: {
        "OutstandingToken": live,
        "BlacklistedToken": live - -(-live // 5),
    },
    OAUTH.name: lambda live: {"RefreshToken": live, "AccessToken": live},
}

_COLUMNS = [
    "way",
    "seconds, median",
    "rounds",
    "rows/s",
    "memory MB",
    "statements",
    "longest statement ms",
    "longest batch ms",
    "time / plain DELETE",
    "simplejwt's time / this",
]

_NOTES = [
    "The same logins for all, in order of time, with lifetimes of 1 hour, 1, 14 and 30 days; four of"
    " five logged out. cleanup_tokens and the plain DELETE (one for each of the two tables) take"
    " turns, each round on a copy of the same database. simplejwt has one row a token and another"
    " one for each that was logged out, django-oauth-toolkit one, and two for who did not log out.",
    "Memory: the largest peak above what the process had in use after Django's setup and the first"
    " query. Longest statement and batch: of all rounds.",
]


def run(*, sizes: dict[str, int], rounds: int, alone: dict[str, int]) -> Result:
    """Measure all ways with ``sizes`` expired rows by database, ours ``alone`` with others."""
    result = Result("cleanup", [], [], [])
    for database in available():
        figures = list(_side_by_side(database, sizes[database], rounds))
        if database in alone:
            figures += _rounds(database, alone[database], [COMMAND], 1)
        for expired in dict.fromkeys(figure["expired"] for figure in figures):
            same = [figure for figure in figures if figure["expired"] == expired]
            result.tables.append(_table(database, same))
            result.promises += [*_exact(database, same), *_promises(database, same)]
        result.figures += figures
    result.tables[-1].notes += _NOTES
    return result


def _side_by_side(database: str, expired: int, rounds: int) -> Iterator[dict[str, Any]]:
    yield from _rounds(database, expired, [COMMAND, DELETE], rounds)
    for way, contender in ((FLUSH, SIMPLEJWT), (CLEAR, OAUTH)):
        with _filled(contender, database, expired) as place:
            yield _measured(place, way, expired)


def _rounds(database: str, expired: int, ways: list[str], rounds: int) -> list[dict[str, Any]]:
    """Measure by turns, each way first every other round."""
    figures = []
    with _filled(OURS, database, expired) as place:
        if len(ways) * rounds == 1:
            return [_measured(place, ways[0], expired)]
        for number in range(rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                with place.copy() as fresh:
                    figures.append(_measured(fresh, way, expired))
    return figures
