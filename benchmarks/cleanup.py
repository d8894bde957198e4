"""Removing what has expired: time, memory, statements, and for how long one statement works."""

from collections.abc import Iterator
from contextlib import contextmanager
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
    "The same logins for all, in order of time, with lifetimes of 1 hour, 1, 14 and 30 days; four"
    " of five logged out. cleanup_tokens and the plain DELETE (one for each of the two tables)"
    " take turns, each round on a copy of the same database. simplejwt has one row a token and"
    " another one for each that was logged out; django-oauth-toolkit has one for each that was"
    " logged out, and two for the others.",
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


@contextmanager
def _filled(contender: Contender, database: str, expired: int) -> Iterator[Installation]:
    with installed(contender, database) as place:
        place.run("fill", expired=expired, live=live_beside(expired))
        yield place


def live_beside(expired: int) -> int:
    """Return how many rows are live where so many have expired: one in six of all."""
    return max(expired // 5, 1)


def _measured(place: Installation, way: str, expired: int) -> dict[str, Any]:
    facts = {"database": place.database, "app": place.contender.name, "way": way}
    facts |= {"expired": expired, "live": live_beside(expired)}
    try:
        found = place.run("clean", way=_WAYS[way], timeout=_PATIENCE)
    except TimeoutExpired:
        found = {"error": f"not done after {_PATIENCE:.0f} s"}
    print(
        f"{place.database}, {way}: {found.get('error') or round(found['seconds'], 2)}", flush=True
    )
    return facts | found


def by_way(figures: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the rounds of each way in one: the median of the seconds, the worst of the rest.

    A way that failed has only its ``error``.
    """
    together = {}
    for way in dict.fromkeys(figure["way"] for figure in figures):
        rounds = [figure for figure in figures if figure["way"] == way]
        failed = next((figure["error"] for figure in rounds if "error" in figure), None)
        if failed:
            together[way] = {"error": failed}
            continue
        worst = ("memory", "statements", "longest_statement", "longest_batch")
        together[way] = {
            "seconds": median(figure["seconds"] for figure in rounds),
            "rounds": [figure["seconds"] for figure in rounds],
            **{name: max(found[name] for found in rounds) for name in worst if name in rounds[0]},
        }
    return together


def _ratio(found: dict[str, dict[str, Any]], way: str, other: str) -> float | None:
    """Return the time of one way in times of another, or None if one of them is missing."""
    seconds = [found.get(name, {}).get("seconds") for name in (way, other)]
    return seconds[0] / seconds[1] if all(seconds) else None


def _table(database: str, figures: list[dict[str, Any]]) -> Table:
    expired, live = figures[0]["expired"], figures[0]["live"]
    title = f"Cleanup: {database}, {expired:,} expired of {expired + live:,}"
    table, found = Table(title, list(_COLUMNS)), by_way(figures)
    for way, facts in found.items():
        if "error" in facts:
            table.add(way, facts["error"].split(":")[0], *[""] * (len(_COLUMNS) - 2))
            continue
        table.add(
            way,
            facts["seconds"],
            " ".join(f"{seconds:.2f}" for seconds in facts["rounds"]),
            round(expired / facts["seconds"]),
            facts["memory"] / 2**20,
            facts["statements"],
            facts["longest_statement"] * 1_000,
            facts["longest_batch"] * 1_000 if "longest_batch" in facts else "",
            _shown(_ratio(found, way, DELETE)),
            _shown(_ratio(found, FLUSH, way)),
        )
    return table


def _shown(ratio: float | None) -> float | str:
    return "" if ratio is None else ratio


def _exact(database: str, figures: list[dict[str, Any]]) -> Iterator[Promise]:
    """Promise for each way that it removed what has expired, and nothing else."""
    for way in dict.fromkeys(figure["way"] for figure in figures):
        rounds = [figure for figure in figures if figure["way"] == way]
        claim = f"{way} on {database} removes {rounds[0]['expired']:,} and leaves every live row"
        errors = [figure["error"] for figure in rounds if "error" in figure]
        if errors and way == COMMAND:
            yield Promise(claim, kept=False, seen=errors[0])
        if errors:
            continue  # then a peer removed nothing, or not all
        expected = _LEFT[rounds[0]["app"]](rounds[0]["live"])
        seen = [{name: figure["left"][name] for name in expected} for figure in rounds]
        yield Promise(claim, all(left == expected for left in seen), str(seen[0]))


def _promises(database: str, figures: list[dict[str, Any]]) -> Iterator[Promise]:
    """Promise what must hold for ours, as far as there is something to compare it with."""
    found, expired = by_way(figures), figures[0]["expired"]
    ours = found[COMMAND]
    if "error" in ours:
        return
    where = f"{COMMAND} on {database} with {expired:,} rows"
    memory = ours["memory"]
    claim = f"{where} needs at most {MOST_MEMORY // 2**20} MB above its start"
    yield Promise(claim, memory <= MOST_MEMORY, f"{memory / 2**20:.1f} MB")
    least, rows = _LEAST_RATIO[database]
    if (faster := _ratio(found, FLUSH, COMMAND)) is not None and expired >= rows:
        claim = f"{where} is at least {least} times as fast as {FLUSH}"
        yield Promise(claim, faster >= least, f"{faster:.1f} times")
    if database != "PostgreSQL":
        return
    claim = f"the longest batch of {where} takes at most {_MOST_BATCH * 1_000:.0f} ms"
    yield Promise(
        claim, ours["longest_batch"] <= _MOST_BATCH, f"{ours['longest_batch'] * 1_000:.0f} ms"
    )
    if (slower := _ratio(found, COMMAND, DELETE)) is not None and expired >= rows:
        claim = f"{where} takes at most {_MOST_PLAIN_DELETES:g} times a plain DELETE"
        yield Promise(claim, slower <= _MOST_PLAIN_DELETES, f"{slower:.2f} times")
