"""Requests a second of a small view, with each way to authenticate."""

from contextlib import ExitStack
from math import ceil
from statistics import median
from typing import Any

from benchmarks import load, servers
from benchmarks.contenders import Installation
from benchmarks.report import Table
from benchmarks.ways import CACHED, PLAIN, STATELESS_CACHED, STRICT

_WAYS = (PLAIN, STRICT, CACHED, STATELESS_CACHED)
_ROUNDS = 3
_CLIENTS = 4
_WARM_UP = 1.0


def measured(place: Installation, *, seconds: float) -> list[dict[str, Any]]:
    """Serve ``place`` in each way, and measure rounds of ``seconds`` by turns."""
    tokens = place.run("issue", count=100)["tokens"]
    with ExitStack() as stack:
        ports = {
            way.name: stack.enter_context(servers.serving(place.having(BENCH_WAY=way.name)))
            for way in _WAYS
        }
        for port in ports.values():
            load.read_for(_WARM_UP, port=port, clients=_CLIENTS, tokens=tokens)
        taken: dict[str, list[list[float]]] = {name: [] for name in ports}
        for number in range(_ROUNDS):
            for name, port in ports.items():
                # The snapshot gets old between two rounds; loading it again is part of neither.
                load.read_for(_WARM_UP, port=port, clients=_CLIENTS, tokens=tokens)
                found = load.read_for(seconds, port=port, clients=_CLIENTS, tokens=tokens)
                taken[name].append(found)
            print(f"HTTP, round {number + 1} of {_ROUNDS}", flush=True)
    return [_figure(name, rounds, seconds) for name, rounds in taken.items()]


def _figure(name: str, rounds: list[list[float]], seconds: float) -> dict[str, Any]:
    ordered = sorted(duration * 1_000 for durations in rounds for duration in durations)
    return {
        "way": name,
        "rates": [len(durations) / seconds for durations in rounds],
        "p50": median(ordered),
        "p99": ordered[ceil(len(ordered) * 0.99) - 1],
        "max": ordered[-1],
    }


def table(figures: list[dict[str, Any]], entries: int, seconds: float) -> Table:
    """Return the table of what was ``measured``."""
    found = Table(
        f"GET /api/me/ over HTTP: PostgreSQL, {entries:,} entries, {_CLIENTS} clients",
        ["way", "requests/s, median of rounds", "rounds", "p50 ms", "p99 ms", "max ms"],
    )
    for figure in figures:
        shown = " ".join(f"{rate:.0f}" for rate in figure["rates"])
        times = [figure[name] for name in ("p50", "p99", "max")]
        found.add(figure["way"], median(figure["rates"]), shown, *times)
    found.notes.append(
        f"Rounds of {seconds:g} s by turns, each after {_WARM_UP:g} s that do not count; gunicorn"
        f" with {servers.WORKERS} workers of {servers.THREADS} threads, persistent connections."
    )
    return found
