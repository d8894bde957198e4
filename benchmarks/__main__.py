"""``python -m benchmarks [storage|refresh|cleanup]``: measure, print and write ``results/``."""

import argparse
import os
import signal
import sys
from collections.abc import Callable

from benchmarks import cleanup, machine, refresh, report, storage
from benchmarks.databases import available

_SUBJECTS: dict[str, Callable[[argparse.Namespace], report.Result]] = {
    "storage": lambda wanted: storage.run(logins=wanted.logins, refreshes=wanted.refreshes),
    "refresh": lambda wanted: refresh.run(
        seconds=wanted.seconds, rounds=wanted.rounds, clients=wanted.clients
    ),
    "cleanup": lambda wanted: cleanup.run(
        expired=wanted.rows,
        live=wanted.rows // 10,
        simplejwt_rows=wanted.simplejwt_rows,
    ),
}


def main(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and drop the databases
    if "PostgreSQL" not in available():
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
    print("\nWritten:", report.write(results, machine.describe(command, load)).name)
    return not all(promise.kept for promise in promises)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=_SUBJECTS, help="default: all of them")
    numbers = {
        "--rows": (200_000, "cleanup: expired tokens; a tenth as many are live"),
        "--simplejwt-rows": (50_000, "cleanup: at most so many for simplejwt, whose need grows"),
        "--logins": (200, "storage: logins"),
        "--refreshes": (50, "storage: refreshes of each login"),
        "--rounds": (4, "refresh: rounds of each"),
        "--clients": (4, "refresh: clients at once"),
    }
    for name, (default, text) in numbers.items():
        parser.add_argument(name, type=_positive, default=default, help=f"{text} ({default})")
    parser.add_argument("--seconds", type=float, default=5.0, help="refresh: length of a round (5)")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
