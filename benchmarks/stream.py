"""What cached checks cost while entries are written in a steady stream, and how late they are."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.board import Board
from benchmarks.contenders import CHECKS, Installation, installed
from benchmarks.report import Promise, Result, Table
from benchmarks.ways import STATELESS_CACHED

_WINDOW = 880.0  # seconds: all of it is recent enough for a snapshot
_TIMED = 40  # logouts a second whose staleness is measured, each in a transaction of its own
_GOOD = 2_000
_PATIENCE = 300.0
_LEAST_SHARE = 0.99
_MOST_MEMORY = 40 * 2**20
_MOST_BUSY = 0.1

_NOTE = (
    "{rows:,} entries were made evenly in the {window:g} s before. For {seconds:g} s one process"
    " writes more of them, a tenth of a second's in one statement; another ends {timed} sessions a"
    " second by sessions.end, and a third one checks: good tokens, those that are about to be"
    " revoked, and one in some hundred that was refused before. First load: seconds of the"
    " processor, before that. Loads: share of one core that they take of the process that checks,"
    " and the longest of them, both in the processor's time. Sets: bytes of the entries, exactly;"
    " resident: the process's peak above what it had before the first load. Last check:"
    " milliseconds from the answer to a logout to the start of the last check that accepted the"
    " token; the age limit is {limit:g} s."
)


def run(*, databases: list[str], rows: int, rate: int, seconds: float) -> Result:
    """Fill the window with ``rows`` entries; then write ``rate`` a second for ``seconds``."""
    result = Result("stream", [], [], [])
    for database in databases:
        with installed(CHECKS, database) as place:
            place.run("entries", count=rows, oldest=_WINDOW, youngest=0.0)
            print(f"{database}: filled", flush=True)
            figure = {"database": database, **_measured(place, rate, seconds)}
        result.figures.append(figure)
        result.promises += _promises(figure, rows)
    result.tables.append(_table(result.figures, rows, seconds))
    return result


def _measured(place: Installation, rate: int, seconds: float) -> dict[str, Any]:
    issued, lanes = time.time(), [int(_TIMED * seconds)]
    place.run("pool", count=sum(lanes), issued=issued)
    with tempfile.TemporaryDirectory(prefix="bench_") as folder, ExitStack() as stack:
        shared = {"path": str(Path(folder) / "board"), "lanes": lanes, "parts": 1, "processes": 3}
        board = Board(**shared)
        served = place.having(BENCH_WAY=STATELESS_CACHED.name)
        flowing, revoking, watching = (
            stack.enter_context(served.start(task, board=shared, process=process, **arguments))
            for process, (task, arguments) in enumerate(_jobs(issued, rate, seconds))
        )
        board.start(_PATIENCE)
        flowed, revoked = flowing(_PATIENCE), revoking(_PATIENCE)
        board.stop(monotonic() + STATELESS_CACHED.max_age + 1)
        watched = watching(_PATIENCE)
    staleness = list(board.staleness())
    return {
        **watched,
        "rate": (flowed["written"] + revoked["revoked"]) / flowed["seconds"],
        "revoked": revoked["revoked"],
        "failed": len(revoked["errors"]) + len(watched["errors"]),
        "errors": [*revoked["errors"], *watched["errors"]][:5],
        "stale": max(staleness),
    }


def _jobs(issued: float, rate: int, seconds: float) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("flow", {"rate": max(1, rate - _TIMED), "seconds": seconds}),
        (
            "revoke",
            {"lanes": [0], "issued": issued, "seconds": seconds, "hold": 0.0, "rest": False},
        ),
        ("watch", {"part": 0, "issued": issued, "good": _GOOD}),
    ]


def _table(figures: list[dict[str, Any]], rows: int, seconds: float) -> Table:
    table = Table(
        "A steady stream of revocations",
        [
            *("database", "entries a second", "in the snapshot", "checks", "from the snapshot"),
            *("first load s", "loads", "loads: share", "longest load ms", "sets MB", "parts"),
            *("resident MB", "timed logouts", "last check ms", "missed", "failed"),
        ],
    )
    for found in figures:
        table.add(
            *(found["database"], round(found["rate"]), found["size"], found["checks"]),
            *(f"{found['from_snapshot'] / found['checks']:.2%}", found["first"], found["loads"]),
            *(f"{found['share']:.1%}", found["longest_load"] * 1_000, found["bytes"] / 2**20),
            *(found["parts"], found["resident"] / 2**20, found["revoked"]),
            *(found["stale"] * 1_000, found["missed"], found["failed"]),
        )
    facts = {"rows": rows, "window": _WINDOW, "seconds": seconds, "timed": _TIMED}
    table.notes.append(_NOTE.format(limit=STATELESS_CACHED.max_age, **facts))
    return table


def _promises(found: dict[str, Any], rows: int) -> list[Promise]:
    share = found["from_snapshot"] / found["checks"]
    held, limit = found["bytes"], STATELESS_CACHED.max_age
    where = f"on {found['database']} with {rows:,} entries and {found['rate']:,.0f} more a second"
    late = (
        f"at most {found['stale'] * 1_000:.0f} ms; {found['revoked']:,} logouts,"
        f" {found['missed']} missed"
    )
    if found["errors"]:
        late += f"; {found['failed']} failed, the first: {found['errors'][0]}"
    return [
        Promise(f"99 % of checks take no statement {where}", share >= _LEAST_SHARE, f"{share:.2%}"),
        Promise(
            f"the snapshot takes at most 40 MB {where}",
            held <= _MOST_MEMORY,
            f"{held / 2**20:.1f} MB of {found['size']:,} entries",
        ),
        Promise(
            f"loads take at most a tenth of one core {where}",
            found["share"] <= _MOST_BUSY,
            f"{found['share']:.1%}",
        ),
        Promise(
            f"no check that starts more than {limit:g} s after the answer to a logout accepts the"
            f" token {where}",
            found["stale"] <= limit and not found["missed"] and not found["failed"],
            late,
        ),
    ]
