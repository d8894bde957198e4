"""How much longer a check takes than simplejwt takes without one."""

from typing import Any

from benchmarks.contenders import CHECKS, Installation, installed
from benchmarks.report import Promise, Result, Table
from benchmarks.ways import Compared

DATABASE = "PostgreSQL"
_ENTRIES = 10_000
_MADE = {"oldest": 780.0, "youngest": 420.0}  # seconds ago

_NOTE = (
    "Microseconds of a call, the quickest of {parts} parts of 10 calls, simplejwt and this app by"
    " turns in one process on " + DATABASE + ". simplejwt's classes are those that this app does"
    " not patch. More: how much longer this app takes; negative if it is faster."
)


def run(*, rounds: int) -> Result:
    with installed(CHECKS, DATABASE) as place:
        place.run("entries", count=_ENTRIES, **_MADE)
        found = measured(place, rounds=rounds)
    return Result("overhead", [table(found, rounds)], [{"overhead": found}], promises(found))


def measured(place: Installation, *, rounds: int) -> dict[str, Any]:
    return place.run("overhead", rounds=rounds)


def table(found: dict[str, Any], rounds: int) -> Table:
    result = Table(
        "What a check costs", ["call", "simplejwt", "this app", "more", "goal: at most", "kept"]
    )
    for compared in Compared:
        theirs, ours = (found[compared.name][who]["best"] for who in ("theirs", "ours"))
        more = ours - theirs
        kept = "yes" if more <= compared.most else "no"
        result.add(compared.value, theirs, ours, more, f"{compared.most:g}", kept)
    result.notes.append(_NOTE.format(parts=rounds * 20))
    return result


def promises(found: dict[str, Any]) -> list[Promise]:
    result = []
    for compared in Compared:
        theirs, ours = (found[compared.name][who]["best"] for who in ("theirs", "ours"))
        claim = (
            f"{compared.value}: at most {compared.most:g} µs more than simplejwt without a check"
        )
        seen = f"{ours - theirs:.1f}: {ours:.1f} and {theirs:.1f}"
        result.append(Promise(claim, ours - theirs <= compared.most, seen))
    return result
