"""How time and memory of the cleanup grow with the number of rows, whose ends are spread."""

from statistics import median
from typing import Any, NamedTuple

from benchmarks.cleanup import MOST_BATCH, MOST_MEMORY, live_beside
from benchmarks.contenders import OURS, installed
from benchmarks.report import Promise, Result, Table


class _Goal(NamedTuple):
    """A row takes at most so many times as long as one of ``base`` rows.

    Below that number, what a run costs whatever it removes is most of it.
    """

    base: int
    slower: float


_GOALS = {
    "PostgreSQL": _Goal(100_000, 2.0),
    "MariaDB": _Goal(400_000, 4 / 3),
    "SQLite": _Goal(100_000, 2.0),
}
_FEW = 1_000_000  # up to here several rounds are cheap


def run(*, database: str, sizes: list[int], rounds: int) -> Result:
    """Measure ``sizes`` one after the other, ``rounds`` of each as long as they are small."""
    table = Table(
        f"Growth: cleanup_tokens on {database}",
        [
            *("expired", "live", "seconds, median", "rounds", "µs a row"),
            *("memory MB", "batches", "longest batch ms"),
        ],
        notes=["Each round on a copy of the same database; from ten million on there is one."],
    )
    result = Result("growth", [table], [], [])
    for expired in sizes:
        figure = _measured(database, expired, rounds if expired <= _FEW else 1)
        result.figures.append(figure)
        table.add(
            *(expired, figure["live"], figure["seconds"]),
            " ".join(f"{seconds:.2f}" for seconds in figure["rounds"]),
            figure["seconds"] / expired * 1e6,
            figure["memory"] / 2**20,
            figure["batches"],
            figure["longest_batch"] * 1_000,
        )
        print(f"{database}, {expired:,} rows: {figure['seconds']:.2f} s", flush=True)
    result.promises = _promises(database, result.figures)
    return result


def _measured(database: str, expired: int, rounds: int) -> dict[str, Any]:
    live = live_beside(expired)
    with installed(OURS, database) as place:
        place.run("fill", expired=expired, live=live, spread=True)
        if rounds == 1:
            found = [place.run("clean", way="ours")]
        else:
            found = []
            for _ in range(rounds):
                with place.copy() as fresh:
                    found.append(fresh.run("clean", way="ours"))
    seconds = [facts["seconds"] for facts in found]
    return {
        "database": database,
        "expired": expired,
        "live": live,
        "rounds": seconds,
        "seconds": median(seconds),
        "removed": min(facts["removed"] for facts in found),
        **{
            name: max(facts[name] for facts in found)
            for name in ("memory", "batches", "longest_batch", "longest_statement")
        },
    }


def _promises(database: str, figures: list[dict[str, Any]]) -> list[Promise]:
    most = max(figure["memory"] for figure in figures)
    promises = [
        Promise(
            f"cleanup_tokens removes all at each size on {database}",
            all(figure["removed"] == figure["expired"] for figure in figures),
            ", ".join(f"{figure['removed']:,}" for figure in figures),
        ),
        Promise(
            f"cleanup_tokens needs at most {MOST_MEMORY // 2**20} MB at each size",
            most <= MOST_MEMORY,
            f"at most {most / 2**20:.1f} MB",
        ),
    ]
    if database != "SQLite":
        longest = max(figure["longest_batch"] for figure in figures)
        claim = f"no batch on {database} takes more than {MOST_BATCH * 1_000:.0f} ms"
        promises.append(Promise(claim, longest <= MOST_BATCH, f"{longest * 1_000:.0f} ms"))
    each = {figure["expired"]: figure["seconds"] / figure["expired"] for figure in figures}
    (base, most), largest = _GOALS[database], max(each)
    if base in each and largest > base:
        slower = each[largest] / each[base]
        claim = f"a row of {largest:,} takes at most {most:.2f} times as long as one of {base:,}"
        promises.append(Promise(claim, slower <= most, f"{slower:.2f} times"))
    return promises
