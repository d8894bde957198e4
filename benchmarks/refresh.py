"""Refreshes per second over HTTP, and the SQL statements of each step."""

from contextlib import ExitStack
from statistics import median, quantiles
from typing import Any

from benchmarks import load, servers
from benchmarks.contenders import BOTH, OURS, SIMPLEJWT, installed
from benchmarks.report import Promise, Result, Table

_DATABASE = "PostgreSQL"
_LEAST_RATIO = 3.0
_BUDGET = {"login": 2, "refresh": 2, "logout": 3}


def run(*, seconds: float, rounds: int, clients: int) -> Result:
    """Measure ``rounds`` of ``seconds`` each for both, by turns."""
    with ExitStack() as stack:
        places = [stack.enter_context(installed(contender, _DATABASE)) for contender in BOTH]
        counted = {place.contender.name: place.run("statements") for place in places}
        ports = {
            place.contender.name: stack.enter_context(servers.serving(place)) for place in places
        }
        for port in ports.values():
            load.refresh_for(1, port=port, clients=clients)  # imports, connections, caches
        taken: dict[str, list[list[float]]] = {name: [] for name in ports}
        for _ in range(rounds):
            for name, port in ports.items():
                taken[name].append(load.refresh_for(seconds, port=port, clients=clients))
    speed, figures, promise = _speed(taken, seconds, clients)
    statements, budget = _statements(counted)
    figures.append({"statements": counted})
    return Result("refresh", [speed, statements], figures, [promise, budget])


def _speed(
    taken: dict[str, list[list[float]]], seconds: float, clients: int
) -> tuple[Table, list[dict[str, Any]], Promise]:
    table = Table(
        f"Refresh over HTTP: {_DATABASE}, {clients} clients",
        ["app", "refreshes/s, median of rounds", "rounds", "ms, median", "ms, 95th percentile"],
    )
    medians, figures = {}, []
    for name, rounds in taken.items():
        rates = [len(durations) / seconds for durations in rounds]
        medians[name] = median(rates)
        milliseconds = [duration * 1_000 for durations in rounds for duration in durations]
        middle, slow = median(milliseconds), quantiles(milliseconds, n=20)[-1]
        shown = " ".join(f"{rate:.0f}" for rate in rates)
        table.add(name, medians[name], shown, middle, slow)
        figures.append({"app": name, "rates": rates, "ms_median": middle, "ms_p95": slow})
    ratio = medians[OURS.name] / medians[SIMPLEJWT.name]
    table.notes.append(
        f"Ratio of the medians: {ratio:.2f}. Rounds of {seconds:g} s by turns; gunicorn with"
        f" {servers.WORKERS} workers of {servers.THREADS} threads, persistent connections of"
        " clients and (with health checks) to the database, the same middleware, rotation on."
    )
    claim = f"refreshes are at least {_LEAST_RATIO:g} times as fast as simplejwt's"
    figures.append({"ratio": ratio})
    return table, figures, Promise(claim, ratio >= _LEAST_RATIO, f"{ratio:.2f}")


def _statements(counted: dict[str, dict[str, dict[str, int]]]) -> tuple[Table, Promise]:
    table = Table(
        "SQL statements of one request",
        ["app", *_BUDGET],
        notes=["In brackets: BEGIN, COMMIT and savepoints on top."],
    )
    for name, steps in counted.items():
        numbers = [steps[step] for step in _BUDGET]
        table.add(name, *(f"{n['statements']} (+{n['transaction_control']})" for n in numbers))
    ours = {step: found["statements"] for step, found in counted[OURS.name].items()}
    kept = all(ours[step] <= most for step, most in _BUDGET.items())
    return table, Promise(f"statements are at most {_BUDGET}", kept, str(ours))
