"""What it costs to ask whether a token is revoked: in process, over HTTP, and in memory."""

from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks import overhead, redis_server, served
from benchmarks.contenders import CHECKS, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table
from benchmarks.ways import PLAIN, REDIS, STATELESS_CACHED, STRICT, WAYS

BURST, STEADY = "burst", "steady"

# How many seconds ago the entries were made. A burst has passed: all of it is recent enough for the
# snapshot, and none of it so young that each load reads it again. A steady stream goes on.
_AGES = {
    BURST: {"oldest": 780.0, "youngest": 420.0},
    STEADY: {"oldest": 780.0, "youngest": 0.0},
}
_MOST_MICROSECONDS = 2.0
_MOST_MEMORY = 32 * 2**20
_ASKING = 5.0  # seconds

_WAYS_NOTE = (
    "Microseconds of authenticate() of a DRF request with a valid token: {calls:,} single calls of"
    " each way, {each} at a time by turns in one process; those that had to load the snapshot"
    " are among them. Persistent connections to the database. Statements are the same at all sizes."
    " Asking costs: how far the median at {most:,} entries is above that of simplejwt's own class"
    " without a check. Entries were made 7 to 13 minutes before."
)
_ALONE_NOTE = (
    "Microseconds of single calls; reading the clock is among them, and takes {clock:.2f}. Check:"
    " snapshot.refuses(claims) with all that it needs from claims that have been read. Again: 100"
    " tokens that come again and again, asked in a row. First: each token is new, so that nothing"
    " about it has been kept. Between: again, by turns with verifying the token, after which less"
    " is in the processor's caches. Verification: simplejwt's AccessToken(raw). Ours: by our class,"
    " which reads the claims, with no question asked."
)
_LOADING_NOTE = (
    "First load: of a fresh process, and as long as the request takes that has to do it. Held and"
    " peak: memory above that before the first load. Stall: the longest time that a thread which"
    " wants to run each millisecond had to wait for more, and the same without a load. Then"
    " {asking:g} s of about a thousand questions a second: how many the snapshot answered (the"
    " database is asked the others), the loads, the longest question (it did a load), and the peak"
    " meanwhile. Burst: entries made 7 to 13 minutes before. Steady: evenly from 13 minutes before"
    " until the start."
)


def run(*, sizes: list[int], rounds: int, calls: int, seconds: float) -> Result:
    """Measure at each of ``sizes`` entries, and loading and over HTTP at the last of them.

    In process ``rounds`` of ``calls`` in each way, over HTTP rounds of ``seconds``.
    """
    ways = [name for name in WAYS if name != REDIS.name or redis_server.answers()]
    asked: list[dict[str, Any]] = []
    loaded: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    costs: dict[str, Any] = {}
    for database in available():
        with installed(CHECKS, database) as place:
            for size in sizes:
                place.run("entries", count=size, **_AGES[BURST])
                found = place.run("authenticate", ways=ways, rounds=rounds, calls=calls)
                asked.append({"database": database, "entries": size, **found})
                print(f"{database}, {size:,} entries: authenticated", flush=True)
            loaded.append(_loaded(database, BURST, place.run("loading", seconds=_ASKING)))
            print(f"{database}: loaded", flush=True)
            if database == overhead.DATABASE:
                costs = overhead.measured(place, rounds=rounds)
                answered = served.measured(place, seconds=seconds)
                place.run("entries", count=sizes[-1], **_AGES[STEADY])
                loaded.append(_loaded(database, STEADY, place.run("loading", seconds=_ASKING)))
    figures = [{"ways": asked, "loading": loaded, "served": answered, "overhead": costs}]
    tables = [*_tables(asked, rounds, calls), _alone(asked), _loading(loaded)]
    if costs:
        tables.insert(0, overhead.table(costs, rounds))
    if answered:
        tables.append(served.table(answered, sizes[-1], seconds))
    promises = [*_promises(asked), *_memory_promises(loaded, sizes[-1])]
    promises += overhead.promises(costs) if costs else []
    return Result("checks", tables, figures, promises)


def _loaded(database: str, kind: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"database": database, "kind": kind, **facts}


def _tables(asked: list[dict[str, Any]], rounds: int, calls: int) -> Iterator[Table]:
    databases = list(dict.fromkeys(found["database"] for found in asked))
    for database in databases:
        same = [found for found in asked if found["database"] == database]
        sizes = [f"{found['entries']:,}" for found in same]
        columns = [f"{size}: {name}" for size in sizes for name in ("median", "p99")]
        table = Table(
            f"Authentication: {database}", ["way", "statements", *columns, "asking costs"]
        )
        largest = same[-1]["ways"]
        for name in largest:
            times = [
                found["ways"][name][which] / 1_000 for found in same for which in ("median", "p99")
            ]
            without = WAYS[name].without
            more = (largest[name]["median"] - largest[without]["median"]) / 1_000 if without else ""
            statements = f"{largest[name]['statements']:g}"
            table.add(name, statements, *(f"{time:,.0f}" for time in times), more)
        if database == databases[-1]:
            facts = {"calls": rounds * calls, "each": calls, "most": same[-1]["entries"]}
            table.notes.append(_WAYS_NOTE.format(**facts))
        yield table


def _alone(asked: list[dict[str, Any]]) -> Table:
    names = ("again", "first", "between", "verification", "ours")
    columns = [f"{name}: {which}" for name in names for which in ("median", "p99")]
    table = Table("The check alone", ["database", "entries", *columns])
    for found in asked:
        times = [
            found["alone"][name][which] / 1_000 for name in names for which in ("median", "p99")
        ]
        table.add(found["database"], found["entries"], *times)
    clock = max(found["alone"]["clock"] for found in asked) / 1_000
    table.notes.append(_ALONE_NOTE.format(clock=clock))
    return table


def _loading(loaded: list[dict[str, Any]]) -> Table:
    table = Table(
        "Loading the snapshot",
        [
            *("database", "entries", "in the snapshot", "first load s", "held MB", "peak MB"),
            *("stall ms", "stall ms without", "from the snapshot", "loads"),
            *("longest question ms", "peak MB later"),
        ],
        notes=[_LOADING_NOTE.format(asking=_ASKING)],
    )
    for found in loaded:
        table.add(
            *(found["database"], found["kind"], found["entries"], found["seconds"]),
            *(found["held"] / 2**20, found["peak"] / 2**20),
            *(found["stall"] * 1_000, found["stall_without"] * 1_000),
            f"{found['from_snapshot'] / found['asked']:.1%}",
            *(found["loads"], found["longest_load"] * 1_000, found["peak_later"] / 2**20),
        )
    return table


def _promises(asked: list[dict[str, Any]]) -> Iterator[Promise]:
    """Give what must hold on each database, whatever the number of entries."""
    for database in dict.fromkeys(found["database"] for found in asked):
        same = [found for found in asked if found["database"] == database]
        sizes = _listed(f"{found['entries']:,}" for found in same)
        where = f"on {database} with {sizes} entries"
        yield _quick(where, [found["alone"] for found in same])
        strict, plain, stateless = (
            [found["ways"][way.name]["statements"] for found in same]
            for way in (STRICT, PLAIN, STATELESS_CACHED)
        )
        claim = f"strict asks as many statements as simplejwt without a check {where}"
        seen = f"{_listed(map(_plainly, strict))}; simplejwt {_listed(map(_plainly, plain))}"
        yield Promise(claim, strict == plain, seen)
        claim = f"stateless and cached asks no statement {where}"
        yield Promise(claim, not any(stateless), _listed(map(_plainly, stateless)))


def _quick(where: str, alone: list[dict[str, Any]]) -> Promise:
    again, first, between, verified = (
        [found[name]["median"] / 1_000 for found in alone]
        for name in ("again", "first", "between", "verification")
    )
    seen = (
        f"{_listed(map(_shortly, again))} of tokens that come again;"
        f" {_listed(map(_shortly, first))} of tokens never seen;"
        f" {_listed(map(_shortly, between))} between verifications by simplejwt, which take"
        f" {_listed(map(_shortly, verified))}"
    )
    answered = {answer for found in alone for answer in found["answered"]}
    if answered != {"False"}:
        seen += f"; but the snapshot answered {_listed(sorted(answered))}"
    claim = f"a cached check takes at most {_MOST_MICROSECONDS:g} µs (median) {where}"
    return Promise(claim, answered == {"False"} and max(again) <= _MOST_MICROSECONDS, seen)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _plainly(number: float) -> str:
    return f"{number:g}"


def _shortly(microseconds: float) -> str:
    return f"{microseconds:.2f}" if microseconds < 10 else f"{microseconds:.0f}"


def _memory_promises(loaded: list[dict[str, Any]], size: int) -> Iterator[Promise]:
    for found in loaded:
        if found["kind"] == BURST:
            held, peak, later = (found[name] / 2**20 for name in ("held", "peak", "peak_later"))
            claim = f"{size:,} entries take at most 32 MB of a process on {found['database']}"
            seen = f"{held:.1f} MB; while it loads {peak:.1f} MB, later at most {later:.1f} MB"
            complete = found["entries"] == size
            if not complete:
                seen += f"; but {found['entries']:,} entries are in it"
            yield Promise(claim, complete and found["held"] <= _MOST_MEMORY, seen)
