"""How long a token that was revoked is still accepted by other processes."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from benchmarks.board import Board
from benchmarks.contenders import CHECKS, Installation, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table
from benchmarks.ways import STATELESS_CACHED, STATELESS_STRICT, Way

_CHECKERS, _THREADS, _REVOKERS = 4, 2, 3
_PARTS = _CHECKERS * _THREADS
_MODES = {"strict": STATELESS_STRICT, "cached": STATELESS_CACHED}
_HOLD = 5.0
# Threads of one more process whose transactions stay open. On SQLite nobody else can write then.
_HOLDERS = {"PostgreSQL": 8, "MariaDB": 8, "SQLite": 1}
_PATIENCE = 120.0  # seconds in which the processes start
_LONGEST = 900.0

_NOTE = (
    "Milliseconds from the answer to a logout (its transaction has been committed) to the start of"
    " the last check that accepted the token, in any process; below zero: it began before the"
    " answer. {checkers} processes of {threads} threads check, {revokers} revoke, and one revokes"
    " in transactions that stay open for up to {hold:g} s. Checked by blacklist.is_revoked, revoked"
    " by sessions.end, sessions.end_by_ids and blacklist.revoke_token. Median: of the last of each"
    " token. Missed: revoked tokens that a thread had not refused in the end. The age limit is"
    " {limit:g} s."
)


def run(*, revocations: int, checks: dict[str, int], seconds: float) -> Result:
    """Spread ``revocations`` over ``seconds`` on each database in both modes.

    ``checks``: how many there are at least, by mode.
    """
    result = Result("staleness", [], [], [])
    for database in available():
        with installed(CHECKS, database) as place:
            for mode in _MODES:
                figure = {
                    "database": database,
                    "mode": mode,
                    **_measured(place, mode, revocations, checks[mode], seconds),
                }
                result.figures.append(figure)
                result.promises.append(_promise(figure))
                print(result.promises[-1], flush=True)
    result.tables.append(_table(result.figures))
    return result


def _measured(
    place: Installation, mode: str, revocations: int, checks: int, seconds: float
) -> dict[str, Any]:
    way = _MODES[mode]
    lanes = [-(-revocations // _REVOKERS)] * _REVOKERS
    lanes += [int(seconds) + 10] * _HOLDERS[place.database]
    issued = time.time()
    place.run("pool", count=sum(lanes), issued=issued)
    checking = {"least": -(-checks // _PARTS)}
    quick = {"seconds": seconds, "hold": 0.0, "rest": False}
    slow = {"seconds": seconds, "hold": _HOLD, "rest": place.database == "SQLite"}
    jobs: list[tuple[str, dict[str, Any]]] = [
        *(
            ("check", checking | {"parts": list(range(first, _PARTS, _CHECKERS))})
            for first in range(_CHECKERS)
        ),
        *(("revoke", quick | {"lanes": [lane]}) for lane in range(_REVOKERS)),
        ("revoke", slow | {"lanes": list(range(_REVOKERS, len(lanes)))}),
    ]
    with tempfile.TemporaryDirectory(prefix="bench_") as folder, ExitStack() as stack:
        shared = {"path": str(Path(folder) / "board"), "lanes": lanes, "parts": _PARTS}
        shared["processes"] = len(jobs)
        board = Board(**shared)
        served = place.having(BENCH_WAY=way.name)
        answers = [
            stack.enter_context(
                served.start(task, board=shared, issued=issued, process=process, **arguments)
            )
            for process, (task, arguments) in enumerate(jobs)
        ]
        board.start(_PATIENCE)
        written = [answer(_LONGEST) for answer in answers[_CHECKERS:]]
        board.stop(monotonic() + way.max_age + 1)
        checked = [answer(_LONGEST) for answer in answers[:_CHECKERS]]
        return _figure(board, checked, written, way)


def _figure(
    board: Board, checked: list[dict[str, Any]], written: list[dict[str, Any]], way: Way
) -> dict[str, Any]:
    staleness = list(board.staleness())
    errors = [error for found in (*checked, *written) for error in found["errors"]]
    checks = sum(found["checks"] for found in checked)
    return {
        "limit": way.max_age,
        "checks": checks,
        "revocations": sum(found["revoked"] for found in written),
        "held": written[-1]["revoked"],
        "longest_hold": written[-1]["longest_hold"],
        "watched": len(staleness),
        "median": median(staleness),
        "longest": max(staleness),
        "staleness": sorted(round(value, 4) for value in staleness)[
            :: max(1, len(staleness) // 200)
        ],
        "missed": sum(found["missed"] for found in checked),
        "from_snapshot": sum(found["from_snapshot"] for found in checked) / checks,
        "loads": sum(found["loads"] for found in checked),
        "failed": len(errors),
        "errors": errors[:5],
    }


def _table(figures: list[dict[str, Any]]) -> Table:
    table = Table(
        "From the answer to a logout to the last accepted check",
        [
            *("database", "mode", "checks", "revocations", "held open", "longest s"),
            *("median ms", "longest ms", "missed", "from the snapshot", "failed"),
        ],
    )
    for found in figures:
        table.add(
            *(found["database"], found["mode"], found["checks"], found["revocations"]),
            *(found["held"], found["longest_hold"]),
            *(found["median"] * 1_000, found["longest"] * 1_000, found["missed"]),
            *(f"{found['from_snapshot']:.1%}", found["failed"]),
        )
    totals = (sum(found[name] for found in figures) for name in ("checks", "revocations"))
    facts = {"checkers": _CHECKERS, "threads": _THREADS, "revokers": _REVOKERS, "hold": _HOLD}
    note = _NOTE.format(limit=STATELESS_CACHED.max_age, **facts)
    table.notes.append("{} In all {:,} checks and {:,} revocations.".format(note, *totals))
    return table


def _promise(found: dict[str, Any]) -> Promise:
    limit = found["limit"]
    claim = (
        f"{found['mode']} on {found['database']}: no check that starts more than {limit:g} s after"
        " the answer to a logout accepts the token"
        if limit
        else f"{found['mode']} on {found['database']}: no check that starts after the answer to a"
        " logout accepts the token"
    )
    seen = (
        f"at most {found['longest'] * 1_000:.1f} ms; {found['checks']:,} checks,"
        f" {found['revocations']:,} revocations, {found['held']} of them held open for up to"
        f" {found['longest_hold']:.1f} s; {found['missed']} missed"
    )
    if found["errors"]:
        seen += f"; {found['failed']} failed, the first: {found['errors'][0]}"
    kept = found["longest"] <= limit and not found["missed"]
    return Promise(claim, kept, seen)
