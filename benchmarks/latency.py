"""How long live logins, refreshes and logouts take, with and without the cleanup at work."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from math import ceil
from statistics import median
from time import monotonic
from typing import Any

from benchmarks import machine, servers
from benchmarks.contenders import OURS, Installation, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table
from benchmarks.traffic import LOGOUT, OPERATIONS, REFRESH, Request, Traffic

_MOST_RATIO = 1.2
_ENOUGH = 500  # requests; fewer say nothing about the slowest in a hundred
_LEAD = 3.0  # seconds in which the process of the cleanup starts, and then waits
_FIRST_WARM_UP, _WARM_UP = 6.0, 1.0

WITHOUT, AGAIN, WITH, FULL_SPEED = "without", "without, again", "with", "with, full speed"

# What a round consists of, and the options of the cleanup that runs then.
_CONDITIONS: dict[str, dict[str, Any] | None] = {
    WITHOUT: None,
    WITH: {},
    AGAIN: None,
    FULL_SPEED: {"pause": 0},
}

# Expired rows for each second of a slice: about as many as a cleanup at full speed removes.
_SPEED = {"PostgreSQL": 350_000, "MariaDB": 80_000, "SQLite": 120_000}

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 100)

_NOTES = (
    "Milliseconds from the moment a request was due. Slices of {seconds:g} s by turns, {rounds} of"
    " each kind, {rate:g} requests a second in all, whatever the answers take; gunicorn with"
    " {workers} workers of {threads} threads. With the cleanup only the requests count that came"
    " while it was at work, in a process of its own and at normal priority; full speed: --pause 0."
    " Ratio: to both kinds of slices without it. These two kinds differ in"
    " nothing, so the ratio of their p99s, which is shown for the second one, is noise.",
)


@dataclass
class _Seen:
    """What was seen in the slices of one condition."""

    slices: list[list[Request]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    sent: int = 0
    seconds: float = 0.0
    removed: int = 0
    busy: list[float] = field(default_factory=list)


def run(*, seconds: float, rounds: int, rate: float) -> Result:
    """Measure ``rounds`` of slices of ``seconds`` each, at ``rate`` requests a second."""
    result = Result("latency", [], [], [])
    for database in available():
        figure = {"database": database} | _figure(_measured(database, seconds, rounds, rate))
        result.figures.append(figure)
        result.tables.append(_table(database, figure))
        result.promises += _promises(database, figure)
    facts = {"workers": servers.WORKERS, "threads": servers.THREADS}
    facts |= {"seconds": seconds, "rounds": rounds, "rate": rate}
    result.tables[-1].notes += [note.format(**facts) for note in _NOTES]
    return result


def _measured(database: str, seconds: float, rounds: int, rate: float) -> dict[str, _Seen]:
    expired = round(_SPEED[database] * seconds)
    seen: dict[str, _Seen] = defaultdict(_Seen)
    with installed(OURS, database) as place:
        place.run("fill", expired=expired, live=expired // 5)
        place.run("refill")  # the first time it makes the copy
        with servers.serving(place) as port:
            traffic = Traffic(port)
            # Each thread of the server meets each kind of request for the first time.
            traffic.drive(rate, begin=monotonic(), until=monotonic() + _FIRST_WARM_UP)
            for number in range(rounds):
                for condition, options in _CONDITIONS.items():
                    _slice(place, traffic, seen[condition], options, seconds, rate)
                print(f"{database}, round {number + 1} of {rounds}", flush=True)
    return seen


def _slice(
    place: Installation,
    traffic: Traffic,
    seen: _Seen,
    options: dict[str, Any] | None,
    seconds: float,
    rate: float,
) -> None:
    """Add what happens within ``seconds`` to ``seen``; clean up meanwhile if there are options."""
    place.run("refill")  # also where nothing was removed, so that all begin alike
    begin = monotonic() + (_WARM_UP if options is None else _LEAD)
    if options is None:
        requests = _driven(traffic, seen, begin, seconds, rate)
        window = (begin, begin + seconds)
    else:
        limits = {"at": begin, "max_seconds": seconds}
        with place.start("clean", way="ours", **limits, **options) as answer:
            requests = _driven(traffic, seen, begin, seconds, rate)
            found = answer(seconds + 120)
        window = (found["began"], min(found["ended"], begin + seconds))
        seen.removed += found["removed"]
        if "error" in found:
            seen.errors.append(f"cleanup: {found['error']}")
    seen.seconds += window[1] - window[0]
    seen.slices.append([item for item in requests if window[0] <= item.due < window[1]])
    seen.errors += [request.error for request in requests if request.error]
    seen.sent += len(requests)


def _driven(
    traffic: Traffic, seen: _Seen, begin: float, seconds: float, rate: float
) -> list[Request]:
    before = machine.processor_time()
    requests = traffic.drive(rate, begin=begin - _WARM_UP, until=begin + seconds)
    seen.busy.append(machine.busy_since(before))
    return requests


def _figure(seen: dict[str, _Seen]) -> dict[str, Any]:
    conditions = {name: _facts(found) for name, found in seen.items()}
    pooled = _facts(_pooled(seen[WITHOUT], seen[AGAIN]))
    ratios = {
        name: {
            operation: facts["operations"][operation]["p99"]
            / (conditions[WITHOUT] if name == AGAIN else pooled)["operations"][operation]["p99"]
            for operation in facts["operations"]
        }
        for name, facts in conditions.items()
        if name != WITHOUT
    }
    errors = [error for found in seen.values() for error in found.errors]
    return {
        "conditions": conditions,
        "without": pooled,
        "ratios": ratios,
        "sent": sum(found.sent for found in seen.values()),
        "failed": len(errors),
        "errors": errors[:10],
    }


def _pooled(*parts: _Seen) -> _Seen:
    return _Seen(
        slices=[requests for part in parts for requests in part.slices],
        sent=sum(part.sent for part in parts),
        seconds=sum(part.seconds for part in parts),
        busy=[share for part in parts for share in part.busy],
    )


def _facts(seen: _Seen) -> dict[str, Any]:
    operations = {}
    for name in (*OPERATIONS, "all"):
        slices = [
            [item.seconds for item in requests if name in (item.operation, "all")]
            for requests in seen.slices
        ]
        each = [_distribution(slice_)["p99"] for slice_ in slices if slice_]
        operations[name] = _distribution(chain.from_iterable(slices)) | {"p99_of_slices": each}
    return {
        "seconds": seen.seconds,
        "removed": seen.removed,
        "busy": sum(seen.busy) / len(seen.busy),
        "operations": operations,
    }


def _distribution(seconds: Iterable[float]) -> dict[str, Any]:
    """Return milliseconds: those at which so many percent were answered."""
    ordered = sorted(round(value * 1_000, 3) for value in seconds) or [float("nan")]
    curve = [ordered[ceil(len(ordered) * percent / 100) - 1] for percent in PERCENTILES]
    at = dict(zip(PERCENTILES, curve, strict=True))
    return {"count": len(ordered), "p50": at[50], "p99": at[99], "max": at[100], "curve": curve}


def _table(database: str, figure: dict[str, Any]) -> Table:
    table = Table(
        f"Latency: {database}",
        [
            *("cleanup", "operation", "requests", "p50 ms", "p99 ms", "max ms"),
            *("p99 of slices", "p99 ratio", "rows removed/s", "processors busy %"),
        ],
    )
    for condition, facts in figure["conditions"].items():
        for operation, found in facts["operations"].items():
            ratio = figure["ratios"].get(condition, {}).get(operation, "")
            rest: list[object] = ["", ""]
            if operation == "all":
                speed = facts["removed"] / facts["seconds"]
                rest = [round(speed) if speed else "", round(facts["busy"] * 100)]
            numbers = [found[name] for name in ("count", "p50", "p99", "max")]
            slices = " ".join(f"{value:.0f}" for value in found["p99_of_slices"])
            table.add(condition, operation, *numbers, slices, ratio, *rest)
    return table


def _promises(database: str, figure: dict[str, Any]) -> list[Promise]:
    failed = f"{figure['failed']} failed of {figure['sent']:,} requests and the cleanups"
    if figure["errors"]:
        failed += f"; the first: {figure['errors'][0]}"
    claim = f"no login, refresh or logout on {database} fails while the cleanup runs"
    promises = [Promise(claim, figure["failed"] == 0, failed)]
    if database != "PostgreSQL":
        return promises
    for operation in (REFRESH, LOGOUT):
        if figure["conditions"][WITH]["operations"][operation]["count"] < _ENOUGH:
            continue
        ratio, full, noise = (
            figure["ratios"][name][operation] for name in (WITH, FULL_SPEED, AGAIN)
        )
        claim = (
            f"p99 of a {operation} on {database} with the cleanup running is at most"
            f" {_MOST_RATIO:g} times that without"
        )
        with_it, without = (
            median(facts["operations"][operation]["p99_of_slices"])
            for facts in (figure["conditions"][WITH], figure["without"])
        )
        seen = (
            f"{ratio:.2f} times; {with_it / without:.2f} by the median slices; at full speed"
            f" {full:.2f}; two measurements without differ {max(noise, 1 / noise):.2f} times"
        )
        promises.append(Promise(claim, ratio <= _MOST_RATIO, seen))
    return promises
