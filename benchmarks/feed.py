"""How long a reader of the feed still accepts what was revoked, and what the feed costs."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from benchmarks import servers
from benchmarks.board import Board
from benchmarks.contenders import CHECKS, OURS, Installation, installed
from benchmarks.report import Promise, Result, Table
from benchmarks.ways import STATELESS_STRICT

_MAX_AGE = 1.0
_WORKERS = 4
_READERS, _THREADS, _CLIENTS = 2, 2, 4
_PATIENCE = 120.0
_LONGEST = 900.0
_WINDOW = 700.0  # seconds: all of it is recent enough for the feed
_MOST_MEMORY = 200 * 2**20

_NOTE = (
    "Milliseconds from the answer to POST revoke/ to the start of the last check that accepted the"
    " token, in any reader; below zero: it began before the answer. gunicorn with {workers}"
    " processes serves; {clients} processes revoke over HTTP; {readers} processes of {threads}"
    " threads check with tokens.feed.Feed(max_age={limit:g}). Median: of the last of each token."
    " Missed: revoked tokens that a thread had not refused in the end. Too old: checks that were"
    " refused because the copy was too old. Left out: checks of tokens that had got older than the"
    " feed, because the run took so long. Answers: of the feed, to each reader, in a second."
)
_SIZES = (
    "{rows:,} entries made evenly in the {window:g} s before. Complete: all of them, as a reader"
    " gets them once a minute; newer: what was made since its last answer. Server: seconds to make"
    " the answer, and the peak of its process above what it had before. Reader: seconds to take the"
    " answer in, and the same of its process. Check: microseconds of one question."
)


def run(*, databases: list[str], revocations: int, rows: int, seconds: float) -> Result:
    """Spread ``revocations`` over ``seconds`` on each database; then read ``rows`` entries."""
    result = Result("feed", [], [], [])
    late, sizes = [], []
    for database in databases:
        with installed(OURS, database) as place:
            late.append({"database": database, **_measured(place, revocations, seconds)})
        result.promises.append(_promise(late[-1]))
        print(result.promises[-1], flush=True)
        with installed(CHECKS, database, BENCH_WAY=STATELESS_STRICT.name) as place:
            place.run("entries", count=rows, oldest=_WINDOW, youngest=0.0)
            sizes.append({"database": database, "entries": rows, **place.run("publish")})
        result.promises.append(_promise_of_size(sizes[-1]))
        print(result.promises[-1], flush=True)
    result.figures += [*late, *sizes]
    result.tables += [_table(late), _table_of_sizes(sizes)]
    return result


def _measured(place: Installation, revocations: int, seconds: float) -> dict[str, Any]:
    lanes = [-(-revocations // _CLIENTS)] * _CLIENTS
    issued, parts = time.time(), _READERS * _THREADS
    place.run("pool", count=sum(lanes), issued=issued)
    caller = place.run("caller")["token"]
    with tempfile.TemporaryDirectory(prefix="bench_") as folder, ExitStack() as stack:
        port = stack.enter_context(servers.serving(place, workers=_WORKERS))
        shared = {"path": str(Path(folder) / "board"), "lanes": lanes, "parts": parts}
        shared["processes"] = _READERS + _CLIENTS
        board = Board(**shared)
        reading = {"port": port, "caller": caller, "max_age": _MAX_AGE}
        jobs: list[tuple[str, dict[str, Any]]] = [
            *(
                ("read", reading | {"parts": list(range(first, parts, _READERS))})
                for first in range(_READERS)
            ),
            *(
                ("log_out", {"port": port, "lane": lane, "seconds": seconds})
                for lane in range(_CLIENTS)
            ),
        ]
        answers = [
            stack.enter_context(
                place.start(task, board=shared, issued=issued, process=process, **arguments)
            )
            for process, (task, arguments) in enumerate(jobs)
        ]
        board.start(_PATIENCE)
        written = [answer(_LONGEST) for answer in answers[_READERS:]]
        board.stop(monotonic() + 2 * _MAX_AGE)
        read = [answer(_LONGEST) for answer in answers[:_READERS]]
        return _figure(board, read, written)


def _figure(
    board: Board, read: list[dict[str, Any]], written: list[dict[str, Any]]
) -> dict[str, Any]:
    staleness = list(board.staleness())
    errors = [error for found in (*read, *written) for error in found["errors"]]
    return {
        "limit": _MAX_AGE,
        "checks": sum(found["checks"] for found in read),
        "revocations": sum(found["revoked"] for found in written),
        "watched": len(staleness),
        "median": median(staleness),
        "longest": max(staleness),
        "missed": sum(found["missed"] for found in read),
        "left_out": sum(found["left_out"] for found in read),
        "too_old": sum(found["too_old"] for found in read),
        "answers": [found["answers"] for found in read],
        "bytes": [found["bytes"] for found in read],
        "failed": len(errors),
        "errors": errors[:5],
    }


def _table(figures: list[dict[str, Any]]) -> Table:
    table = Table(
        "From the answer to a logout to the last acceptance by a reader of the feed",
        [
            *("database", "checks", "revocations", "median ms", "longest ms", "missed", "too old"),
            *("left out", "answers/s", "kB/s", "failed"),
        ],
    )
    for found in figures:
        table.add(
            *(found["database"], found["checks"], found["revocations"]),
            *(found["median"] * 1_000, found["longest"] * 1_000, found["missed"]),
            *(
                found["too_old"],
                found["left_out"],
                median(found["answers"]),
                median(found["bytes"]) / 1_000,
            ),
            found["failed"],
        )
    facts = {"workers": _WORKERS, "clients": _CLIENTS, "readers": _READERS, "threads": _THREADS}
    table.notes.append(_NOTE.format(limit=_MAX_AGE, **facts))
    return table


def _table_of_sizes(figures: list[dict[str, Any]]) -> Table:
    table = Table(
        "An answer of the feed",
        [
            *("database", "entries", "answer", "MB", "server s", "server MB"),
            *("reader s", "reader MB", "check µs"),
        ],
    )
    for found in figures:
        for kind in ("complete", "newer"):
            one = found[kind]
            table.add(
                *(found["database"], found["entries"], kind, one["bytes"] / 1e6),
                *(one["made"], one["server"] / 1e6, one["merged"], one["reader"] / 1e6),
                one["check"] * 1e6,
            )
    table.notes.append(_SIZES.format(rows=figures[0]["entries"], window=_WINDOW))
    return table


def _promise(found: dict[str, Any]) -> Promise:
    claim = (
        f"a reader of the feed on {found['database']}: no check that starts more than"
        f" {found['limit']:g} s after the answer to a logout accepts the token"
    )
    seen = (
        f"at most {found['longest'] * 1_000:.1f} ms; {found['checks']:,} checks,"
        f" {found['revocations']:,} revocations; {found['missed']} missed"
    )
    if found["errors"]:
        seen += f"; {found['failed']} failed, the first: {found['errors'][0]}"
    return Promise(claim, found["longest"] <= found["limit"] and not found["missed"], seen)


def _promise_of_size(found: dict[str, Any]) -> Promise:
    most = max(found["complete"]["server"], found["newer"]["server"])
    claim = (
        f"{found['entries']:,} entries on {found['database']}: an answer takes less than"
        f" {_MOST_MEMORY / 2**20:.0f} MiB of its server"
    )
    return Promise(claim, most < _MOST_MEMORY, f"at most {most / 2**20:.0f} MiB")
