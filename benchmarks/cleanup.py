"""Removing what has expired: time, memory, statements."""

from typing import Any

from benchmarks.contenders import OURS, SIMPLEJWT, Contender, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table

_MEGABYTE = 2**20
_MOST_MEMORY = 20 * _MEGABYTE

# The name, who, and which way of ``inside.clean``.
_WAYS = (
    ("cleanup_tokens", OURS, "ours"),
    ("one plain DELETE", OURS, "plain delete"),
    ("flushexpiredtokens", SIMPLEJWT, "simplejwt"),
)

_GIVEN = ("database", "way", "expired", "live")


def run(*, expired: int, live: int, simplejwt_rows: int) -> Result:
    """Measure the removal of ``expired`` tokens; simplejwt's at most ``simplejwt_rows``."""
    table = Table(
        "Cleanup: expired tokens, all of them logged out",
        [*_GIVEN, "seconds", "rows/s", "memory MB", "statements", "longest batch s"],
        notes=[
            "Memory: the peak above what the process had in use after Django's setup and the first"
            " query. The plain DELETE, of the same rows as cleanup_tokens removes, is the floor:"
            " one statement, one transaction. simplejwt has two rows a token.",
        ],
    )
    result = Result("cleanup", [table], [], [])
    for database in available():
        for name, contender, way in _WAYS:
            number = min(expired, simplejwt_rows) if contender is SIMPLEJWT else expired
            with installed(contender, database) as place:
                place.run("fill", expired=number, live=live)
                found = place.run("clean", way=way)
            facts = dict(zip(_GIVEN, (database, name, number, live), strict=True))
            table.add(*facts.values(), *_cells(found, number))
            result.figures.append(facts | found)
            result.promises += _promises(database, name, contender, found, live)
    return result


def _cells(found: dict[str, Any], expired: int) -> list[object]:
    if "error" in found:
        return [found["error"].split(":")[0], "", "", found["statements"], ""]
    return [
        found["seconds"],
        round(expired / found["seconds"]),
        found["memory"] / _MEGABYTE,
        found["statements"],
        found.get("longest_batch", "all in one"),
    ]


def _promises(
    database: str, name: str, contender: Contender, found: dict[str, Any], live: int
) -> list[Promise]:
    if "error" in found and contender is SIMPLEJWT:
        return []  # then it removed nothing
    left = found["left"]
    tables = ("BlacklistEntry",) if contender is OURS else ("OutstandingToken", "BlacklistedToken")
    exact = all(left[table] == live for table in tables)
    promises = [
        Promise(f"{name} on {database} leaves exactly the {live:,} live", exact, str(left)),
    ]
    if name == "cleanup_tokens":
        used = found["memory"]
        claim = f"{name} on {database} needs at most {_MOST_MEMORY // _MEGABYTE} MB"
        promises.append(Promise(claim, used <= _MOST_MEMORY, f"{used / _MEGABYTE:.1f} MB"))
    return promises
