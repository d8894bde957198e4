"""``python -m benchmarks [SUBJECT]``: measure, print, and write tables and plots to ``results/``.

Without a subject all of them are measured. The sizes are such that this ends within twenty
minutes; --full takes those at which the cleanup promises something, which takes an hour.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from benchmarks import (
    admin,
    archive,
    checks,
    cleanup,
    feed,
    growth,
    latency,
    machine,
    overhead,
    refresh,
    report,
    size,
    staleness,
    storage,
    stream,
    users,
)
from benchmarks.databases import ORDER, available, want

_ROWS = {"PostgreSQL": 200_000, "MariaDB": 100_000, "SQLite": 200_000}
_FULL_ROWS = {"PostgreSQL": 1_000_000, "MariaDB": 400_000, "SQLite": 400_000}
_GROWTH = [10_000, 100_000, 1_000_000]
_FULL_GROWTH = [*_GROWTH, 10_000_000]
_INNODB_GROWTH = [400_000, 5_000_000]
_FULL_CHECKS = {"strict": 100_000, "cached": 1_000_000}
_ENTRIES = [0, 10_000, 1_000_000]


def _cleanup(wanted: argparse.Namespace) -> report.Result:
    sizes = _FULL_ROWS if wanted.full else _ROWS
    if wanted.rows:
        sizes = dict.fromkeys(sizes, wanted.rows)
    rounds = wanted.rounds or (2 if wanted.promises else 3)
    return cleanup.run(
        sizes=_FULL_ROWS if wanted.promises else sizes,
        rounds=rounds,
        fills=list(cleanup.FILLS),
        large=wanted.promises or wanted.full,
    )


def _latency(wanted: argparse.Namespace) -> report.Result:
    seconds, rounds = (10, 6) if wanted.full else (5, 2)
    return latency.run(
        seconds=wanted.seconds or seconds, rounds=wanted.rounds or rounds, rate=wanted.rate
    )


def _growth(wanted: argparse.Namespace) -> report.Result:
    database = (wanted.database or ["PostgreSQL"])[0]
    sizes, most = (_FULL_GROWTH if wanted.full else _GROWTH), wanted.rows
    if database == "MariaDB":
        sizes = _INNODB_GROWTH
    if most:
        largest = _INNODB_GROWTH if database == "MariaDB" else _FULL_GROWTH
        sizes = [*(size for size in largest if size < most), most]
    return growth.run(database=database, sizes=sizes, rounds=wanted.rounds or 3)


def _size(wanted: argparse.Namespace) -> report.Result:
    most = wanted.rows or (30_000_000 if wanted.full else 1_000_000)
    smaller = [size for size in (100_000, 1_000_000, 10_000_000) if size < most]
    return size.run(sizes=[*smaller, most], times=500)


def _refresh(wanted: argparse.Namespace) -> report.Result:
    return refresh.run(
        seconds=wanted.seconds or 5, rounds=wanted.rounds or 4, clients=wanted.clients
    )


def _checks(wanted: argparse.Namespace) -> report.Result:
    sizes = [size for size in _ENTRIES if size <= (wanted.rows or _ENTRIES[-1])]
    return checks.run(
        sizes=sizes, rounds=wanted.rounds or 15, calls=100, seconds=wanted.seconds or 3
    )


def _staleness(wanted: argparse.Namespace) -> report.Result:
    revocations, seconds = (10_000, 60) if wanted.full else (600, 10)
    return staleness.run(
        revocations=wanted.rows or revocations,
        checks=_FULL_CHECKS if wanted.full else dict.fromkeys(_FULL_CHECKS, 0),
        seconds=wanted.seconds or seconds,
    )


def _stream(wanted: argparse.Namespace) -> report.Result:
    return stream.run(
        databases=available() if wanted.database or wanted.full else available()[:1],
        rows=wanted.rows or 1_400_000,
        rate=wanted.logouts,
        seconds=wanted.seconds or 30,
    )


def _feed(wanted: argparse.Namespace) -> report.Result:
    return feed.run(
        databases=available() if wanted.database or wanted.full else available()[:1],
        revocations=wanted.rows or 10_000,
        rows=1_000_000,
        seconds=wanted.seconds or 60,
    )


_SUBJECTS: dict[str, Callable[[argparse.Namespace], report.Result]] = {
    "storage": lambda wanted: storage.run(logins=wanted.logins, refreshes=wanted.refreshes),
    "refresh": _refresh,
    "cleanup": _cleanup,
    "latency": _latency,
    "growth": _growth,
    "checks": _checks,
    "overhead": lambda wanted: overhead.run(rounds=wanted.rounds or 60),
    "staleness": _staleness,
    "admin": lambda wanted: admin.run(
        share=(wanted.rows or (10_000_000 if wanted.full else 100_000)) / 10_000_000,
        rounds=wanted.rounds or 3,
    ),
    "size": _size,
    "stream": _stream,
    "feed": _feed,
    "users": lambda wanted: users.run(count=wanted.rows or 2_000, rounds=wanted.rounds or 3),
}


def main(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    want(wanted.database or list(ORDER))
    needs_postgresql = wanted.subject in (None, "refresh", "overhead", "size") or (
        wanted.subject == "growth" and not wanted.database
    )
    if needs_postgresql and "PostgreSQL" not in available():
        sys.exit("No PostgreSQL answers; POSTGRES_URL names one.")
    load = os.getloadavg()
    results = []
    for subject in [wanted.subject] if wanted.subject else _SUBJECTS:
        result = _SUBJECTS[subject](wanted)
        results.append(result)
        print("\n", *result.tables, sep="\n\n", flush=True)
    promises = [promise for result in results for promise in result.promises]
    print("", report.text_of(promises), sep="\n")
    command = " ".join(["python -m benchmarks", *arguments])
    facts = machine.describe(command, load)
    print("\nWritten:", archive.write(results, facts, wanted.database or []).name)
    return not all(promise.kept for promise in promises)


def _end(number: int, _frame: object) -> NoReturn:
    """Leave, dropping the databases; a second signal does not stop that."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)
    sys.exit(128 + number)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=_SUBJECTS, help="default: all of them")
    parser.add_argument(
        "--full",
        action="store_true",
        help="cleanup, latency, growth, staleness: sizes that promise something; stream, feed: on"
        " all databases",
    )
    parser.add_argument(
        "--promises",
        action="store_true",
        help="cleanup: in ten minutes, what the README and its goals are about",
    )
    parser.add_argument(
        "--rows",
        type=_positive,
        help="cleanup: expired rows; growth, checks: at most; staleness, feed:"
        " revocations;"
        " stream: entries at the start; users: how many to delete",
    )
    parser.add_argument(
        "--database", action="append", choices=ORDER, help="only this one; may be given twice"
    )
    parser.add_argument("--rounds", type=_positive, help="rounds of each")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        help="refresh, latency, checks, staleness, stream, feed: length of a round",
    )
    numbers = {
        "--logins": (200, "storage: logins"),
        "--refreshes": (50, "storage: refreshes of each login"),
        "--clients": (4, "refresh: clients at once"),
        "--rate": (60, "latency: requests a second"),
        "--logouts": (1_280, "stream: entries a second"),
    }
    for name, (default, text) in numbers.items():
        parser.add_argument(name, type=_positive, default=default, help=f"{text} ({default})")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100_000_000:
        raise argparse.ArgumentTypeError("must be from 1 to 100,000,000")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 1 <= number <= 600:
        raise argparse.ArgumentTypeError("must be from 1 to 600")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
