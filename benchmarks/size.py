"""How all grows with the size of the tables: the daily cleanup, checks, logins, the admin."""

from typing import Any

from benchmarks.contenders import ADMIN, installed
from benchmarks.report import Promise, Result, Table

DATABASE = "PostgreSQL"
_ONE_DAY_OF = 14
_MOST_SLOWER = 2.0  # a check or a login, on the largest tables
_SHOWN = ("entries", "entries, in_force", "entries, q=sid", "sessions", "front page")


def run(*, sizes: list[int], times: int) -> Result:
    """Measure each of ``sizes``, in entries; there is one session for ten of them."""
    table = Table(
        f"Size: {DATABASE}, a fourteenth has expired, spread over the table",
        [
            *("entries", "MB", "cleanup s", "rows/s", "longest batch ms", "memory MB"),
            *("check µs", "login µs", "logout µs", "slowest list ms"),
        ],
        notes=[
            f"The lists: {', '.join(_SHOWN)}. Check, login and logout: the median of {times}, with"
            " the signature, in one process."
        ],
    )
    result = Result("size", [table], [], [])
    for entries in sizes:
        figure = _measured(entries, times)
        result.figures.append(figure)
        cleanup, grown, pages = figure["cleanup"], figure["grown"], figure["pages"]
        table.add(
            *(entries, figure["bytes"] / 2**20),
            *(cleanup["seconds"], cleanup["removed"] / cleanup["seconds"]),
            *(cleanup["longest_batch"] * 1_000, cleanup["memory"] / 2**20),
            *(grown["check"], grown["login"], grown["logout"]),
            max(pages[name]["milliseconds"] for name in _SHOWN),
        )
        print(table, flush=True)
    result.promises = _promises(result.figures)
    return result


def _measured(entries: int, times: int) -> dict[str, Any]:
    with installed(ADMIN, DATABASE) as place:
        filled = place.run("crowd", entries=entries, sessions=entries // 10, users=entries // 30)
        return {
            "entries": entries,
            "bytes": filled["bytes"],
            "pages": place.run("pages", rounds=2),
            "grown": place.run("grown", times=times),
            "cleanup": place.run("clean", way="ours"),
        }


def _promises(figures: list[dict[str, Any]]) -> list[Promise]:
    first, last = figures[0], figures[-1]
    promises = [
        Promise(
            "the cleanup removes a day of fourteen at each size",
            all(one["cleanup"]["removed"] >= one["entries"] // _ONE_DAY_OF for one in figures),
            ", ".join(f"{one['cleanup']['removed']:,}" for one in figures),
        )
    ]
    for act in ("check", "login", "logout"):
        slower = last["grown"][act] / first["grown"][act]
        claim = (
            f"a {act} with {last['entries']:,} entries takes at most {_MOST_SLOWER:g} times as long"
            f" as with {first['entries']:,}"
        )
        promises.append(Promise(claim, slower <= _MOST_SLOWER, f"{slower:.2f} times"))
    return promises
