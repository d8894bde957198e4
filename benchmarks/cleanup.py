"""Removing what has expired: time, memory, statements, and for how long one statement works."""

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from subprocess import TimeoutExpired
from typing import Any, NamedTuple

from benchmarks.contenders import OAUTH, OURS, SIMPLEJWT, Contender, Installation, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table

MOST_MEMORY = 20 * 2**20
MOST_BATCH = 0.150  # seconds, on the servers


class _Goal(NamedTuple):
    """What is promised from so many ``rows`` on: how many times as fast as simplejwt, and at most
    how many times as long as a plain DELETE.
    """

    rows: int
    faster: float
    plain_deletes: float


_GOALS = {
    "PostgreSQL": _Goal(1_000_000, 50, 1.6),
    "MariaDB": _Goal(400_000, 5, 1.8),
    "SQLite": _Goal(400_000, 4, 1.0),
}

# The two ways to fill a table, and what titles call them.
FILLS = {"in order": False, "spread": True}

# Where little has expired: rows, and the share of them.
_LARGE, _LITTLE = 5_000_000, 0.01
_NOISE = 1.1
_PATIENCE = 900.0  # seconds

# The names, and the ways of ``inside.clean``.
COMMAND, INDEX, DELETE, FLUSH, CLEAR = (
    "cleanup_tokens",
    "cleanup_tokens, by index",
    "plain DELETE",
    "flushexpiredtokens",
    "cleartokens",
)
_WAYS = {
    COMMAND: "ours",
    INDEX: "ours by index",
    DELETE: "plain delete",
    FLUSH: "simplejwt",
    CLEAR: "oauth",
}

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
    "order",
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
    "The same logins for all, in order of time; four of five logged out. In order: with lifetimes"
    " of 1 hour, 1, 14 and 30 days. Spread: with ends at random, as where each refresh moves the"
    " end of its session. cleanup_tokens and the plain DELETE (one for each of the two tables) take"
    " turns, each round on a copy of the same database. simplejwt has one row a token and another"
    " one for each that was logged out; django-oauth-toolkit has one for each that was logged out,"
    " and two for the others.",
    "Memory: the largest peak above what the process had in use after Django's setup and the first"
    " query. Longest statement and batch: of all rounds.",
]


def run(*, sizes: dict[str, int], rounds: int, fills: list[str], large: bool = False) -> Result:
    """Measure all ways with ``sizes`` expired rows by database, and with each of the ``fills``.

    ``large`` adds a table of PostgreSQL in which little has expired.
    """
    result = Result("cleanup", [], [], [])
    for database in available():
        for fill in fills:
            figures = list(_side_by_side(database, sizes[database], rounds, fill))
            _report(result, database, figures)
    if large and "PostgreSQL" in available():
        expired = round(_LARGE * _LITTLE)
        for fill in fills:
            ways = [COMMAND, INDEX, DELETE]
            figures = _rounds("PostgreSQL", expired, ways, rounds, fill, live=_LARGE - expired)
            _report(result, "PostgreSQL", figures)
    result.tables[-1].notes += _NOTES
    return result


def _report(result: Result, database: str, figures: list[dict[str, Any]]) -> None:
    result.figures += figures
    result.tables.append(_table(database, figures))
    print("", result.tables[-1], "", sep="\n", flush=True)
    result.promises += [*_exact(database, figures), *_promises(database, figures)]


def _side_by_side(database: str, expired: int, rounds: int, fill: str) -> Iterator[dict[str, Any]]:
    yield from _rounds(database, expired, [COMMAND, DELETE], rounds, fill)
    peers = [(FLUSH, SIMPLEJWT)]
    if fill == next(iter(FILLS)):
        peers.append((CLEAR, OAUTH))  # removes by id, so that the order of ends is nothing to it
    for way, contender in peers:
        live = live_beside(expired)
        with _filled(contender, database, expired, live, fill) as place:
            yield _measured(place, way, expired, live, fill)


def _rounds(
    database: str,
    expired: int,
    ways: list[str],
    rounds: int,
    fill: str,
    live: int | None = None,
) -> list[dict[str, Any]]:
    """Measure by turns, each way first every other round."""
    figures = []
    live = live_beside(expired) if live is None else live
    with _filled(OURS, database, expired, live, fill) as place:
        for number in range(rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                with place.copy() as fresh:
                    figures.append(_measured(fresh, way, expired, live, fill))
    return figures


@contextmanager
def _filled(
    contender: Contender, database: str, expired: int, live: int, fill: str
) -> Iterator[Installation]:
    with installed(contender, database) as place:
        place.run("fill", expired=expired, live=live, spread=FILLS[fill])
        yield place


def live_beside(expired: int) -> int:
    """Return how many rows are live where so many have expired: one in six of all."""
    return max(expired // 5, 1)


def _measured(place: Installation, way: str, expired: int, live: int, fill: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"database": place.database, "app": place.contender.name, "way": way}
    facts |= {"fill": fill, "expired": expired, "live": live}
    try:
        found = place.run("clean", way=_WAYS[way], timeout=_PATIENCE)
    except TimeoutExpired:
        found = {"error": f"not done after {_PATIENCE:.0f} s"}
    print(
        f"{place.database}, {fill}, {way}: {found.get('error') or round(found['seconds'], 2)}",
        flush=True,
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
            "order": rounds[0].get("order", ""),
            **{name: max(found[name] for found in rounds) for name in worst if name in rounds[0]},
        }
    return together


def _ratio(found: dict[str, dict[str, Any]], way: str, other: str) -> float | None:
    """Return the time of one way in times of another, or None if one of them is missing."""
    seconds = [found.get(name, {}).get("seconds") for name in (way, other)]
    return seconds[0] / seconds[1] if all(seconds) else None


def _table(database: str, figures: list[dict[str, Any]]) -> Table:
    expired, live = figures[0]["expired"], figures[0]["live"]
    rows = f"{expired:,} expired of {expired + live:,}"
    title = f"Cleanup: {database}, {rows}, {figures[0]['fill']}"
    table, found = Table(title, list(_COLUMNS)), by_way(figures)
    for way, facts in found.items():
        if "error" in facts:
            table.add(way, "", facts["error"].split(":")[0], *[""] * (len(_COLUMNS) - 3))
            continue
        table.add(
            way,
            facts["order"],
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
        first = rounds[0]
        claim = (
            f"{way} on {database}, {first['fill']}, removes {first['expired']:,} and leaves every"
            " live row"
        )
        errors = [figure["error"] for figure in rounds if "error" in figure]
        if errors and way in (COMMAND, INDEX):
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
    where = f"{COMMAND} on {database} with {expired:,} rows {figures[0]['fill']}"
    memory = ours["memory"]
    claim = f"{where} needs at most {MOST_MEMORY // 2**20} MB above its start"
    yield Promise(claim, memory <= MOST_MEMORY, f"{memory / 2**20:.1f} MB")
    if database != "SQLite":
        longest = ours["longest_batch"]
        claim = f"the longest batch of {where} takes at most {MOST_BATCH * 1_000:.0f} ms"
        yield Promise(claim, longest <= MOST_BATCH, f"{longest * 1_000:.0f} ms")
    if (slower := _ratio(found, COMMAND, INDEX)) is not None:
        claim = f"{where} of {_LARGE:,} takes no longer than by index, but for noise"
        yield Promise(claim, slower <= _NOISE, f"{slower:.2f} times")
        return
    goal = _GOALS[database]
    if expired < goal.rows:
        return
    if (faster := _ratio(found, FLUSH, COMMAND)) is not None:
        claim = f"{where} is at least {goal.faster:g} times as fast as {FLUSH}"
        yield Promise(claim, faster >= goal.faster, f"{faster:.1f} times")
    if (slower := _ratio(found, COMMAND, DELETE)) is not None:
        claim = f"{where} takes at most {goal.plain_deletes:g} times a plain DELETE"
        yield Promise(claim, slower <= goal.plain_deletes, f"{slower:.2f} times")
