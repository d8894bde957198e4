"""What the deletion of users costs with and without the app, and the statements of each step."""

from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.contenders import OURS, PLAIN, SIMPLEJWT, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table

_BUDGET = {"login": 2, "request": 1, "refresh": 2, "logout": 3}
_MOST_STATEMENTS_MORE = 10


def run(*, count: int, rounds: int) -> Result:
    """Delete ``count`` users who never logged in, ``rounds`` times each, by turns."""
    deletion = Table(
        f"Deletion of {count:,} users who never logged in",
        ["database", "project", "seconds, median", "rounds", "statements", "rows left"],
        notes=["One `QuerySet.delete()` in one process, by turns. Without: simplejwt alone."],
    )
    steps = Table("SQL statements of one step", ["database", "project", *_BUDGET])
    result = Result("users", [deletion, steps], [], [])
    for database in available():
        _delete(database, result, count=count, rounds=rounds)
        _count(database, result)
    return result


def _delete(database: str, result: Result, *, count: int, rounds: int) -> None:
    contenders = {"without the app": PLAIN, "with the app": OURS}
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    with ExitStack() as stack:
        places = {
            name: stack.enter_context(installed(contender, database))
            for name, contender in contenders.items()
        }
        for _ in range(rounds):
            for name, place in places.items():
                taken[name].append(place.run("delete_users", count=count))
    for name, found in taken.items():
        seconds = [one["seconds"] for one in found]
        shown = " ".join(f"{second:.2f}" for second in seconds)
        last = found[-1]
        middle = median(seconds)
        result.tables[0].add(database, name, middle, shown, last["statements"], last["rows_left"])
        result.figures.append({"database": database, "project": name, "deletions": found})
    without, ours = (found[-1] for found in taken.values())
    more = ours["statements"] - without["statements"]
    claim = (
        f"deleting them takes at most {_MOST_STATEMENTS_MORE} statements more, and leaves no row"
    )
    kept = more <= _MOST_STATEMENTS_MORE and not ours["rows_left"]
    seen = f"{more} more, {ours['rows_left']} rows"
    result.promises.append(Promise(f"{database}: {claim}", kept, seen))


def _count(database: str, result: Result) -> None:
    for contender in (SIMPLEJWT, OURS):
        with installed(contender, database) as place:
            found = place.run("statements")
        numbers = {step: found[step]["statements"] for step in _BUDGET}
        result.tables[1].add(database, contender.name, *numbers.values())
        result.figures.append(
            {"database": database, "project": contender.name, "statements": found}
        )
    kept = all(numbers[step] <= most for step, most in _BUDGET.items())
    claim = f"{database}: statements are at most {_BUDGET}"
    result.promises.append(Promise(claim, kept, str(numbers)))
