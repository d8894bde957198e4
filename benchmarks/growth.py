"""How time and memory of the cleanup grow with the number of rows."""

from statistics import median
from typing import Any

from benchmarks.cleanup import MOST_MEMORY, live_beside
from benchmarks.contenders import OURS, installed
from benchmarks.report import Promise, Result, Table

DATABASE = "PostgreSQL"
_BASE = 100_000  # below, what a run costs whatever it removes is most of it
_MOST_SLOWER = 2.0
_FEW = 1_000_000  # up to here several rounds are cheap


def run(*, sizes: list[int], rounds: int) -> Result:
    """Measure ``sizes`` one after the other, ``rounds`` of each as long as they are small."""
    table = Table(
        f"Growth: cleanup_tokens on {DATABASE}",
        [
            *("expired", "live", "seconds, median", "rounds", "µs a row"),
            *("memory MB", "batches", "longest batch ms"),
        ],
        notes=["Each round on a copy of the same database; from ten million on there is one."],
    )
    result = Result("growth", [table], [], [])
    for expired in sizes:
        figure = _measured(expired, rounds if expired <= _FEW else 1)
        result.figures.append(figure)
        table.add(
            *(expired, figure["live"], figure["seconds"]),
            " ".join(f"{seconds:.2f}" for seconds in figure["rounds"]),
            figure["seconds"] / expired * 1e6,
            figure["memory"] / 2**20,
            figure["batches"],
            figure["longest_batch"] * 1_000,
        )
        print(f"{DATABASE}, {expired:,} rows: {figure['seconds']:.2f} s", flush=True)
    result.promises = _promises(result.figures)
    return result


def _measured(expired: int, rounds: int) -> dict[str, Any]:
    live = live_beside(expired)
    with installed(OURS, DATABASE) as place:
        place.run("fill", expired=expired, live=live)
        if rounds == 1:
            found = [place.run("clean", way="ours")]
        else:
            found = []
            for _ in range(rounds):
                with place.copy() as fresh:
                    found.append(fresh.run("clean", way="ours"))
    seconds = [facts["seconds"] for facts in found]
    return {
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


def _promises(figures: list[dict[str, Any]]) -> list[Promise]:
    most = max(figure["memory"] for figure in figures)
    promises = [
        Promise(
            f"cleanup_tokens removes all at each size on {DATABASE}",
            all(figure["removed"] == figure["expired"] for figure in figures),
            ", ".join(f"{figure['removed']:,}" for figure in figures),
        ),
        Promise(
            f"cleanup_tokens needs at most {MOST_MEMORY // 2**20} MB at each size",
            most <= MOST_MEMORY,
            f"at most {most / 2**20:.1f} MB",
        ),
    ]
    each = {figure["expired"]: figure["seconds"] / figure["expired"] for figure in figures}
    largest = max(each)
    if _BASE in each and largest > _BASE:
        slower = each[largest] / each[_BASE]
        claim = (
            f"a row of {largest:,} takes at most {_MOST_SLOWER:g} times as long as one of {_BASE:,}"
        )
        promises.append(Promise(claim, slower <= _MOST_SLOWER, f"{slower:.2f} times"))
    return promises
