"""What a login leaves in the database after many refreshes."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.contenders import BOTH, OURS, Contender, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table


def run(*, logins: int, refreshes: int) -> Result:
    """Measure rows and bytes of ``logins`` with ``refreshes`` each."""
    table = Table(
        f"Storage: {logins:,} logins with {refreshes} refreshes each",
        ["database", "app", "rows", "rows/login", "bytes/login", "bytes/login compacted"],
        notes=[
            "Bytes with all indexes, when each round of refreshes was followed by a plain VACUUM,"
            " as by autovacuum; compacted: after VACUUM FULL (SQLite: VACUUM)."
        ],
    )
    result = Result("storage", [table], [], [])
    # No time is measured here, so both may be at work at once.
    with ThreadPoolExecutor() as pool:
        for database in available():
            if database == "MariaDB":
                continue  # it only estimates how large a table is
            live = partial(_live, database, logins=logins, refreshes=refreshes)
            for contender, found in zip(BOTH, pool.map(live, BOTH), strict=True):
                rows = sum(found["rows"].values())
                sizes = [round(found[name] / logins) for name in ("bytes", "bytes_compact")]
                table.add(database, contender.name, rows, rows / logins, *sizes)
                result.figures.append({"database": database, "app": contender.name, **found})
                result.promises.append(_promise(database, contender, found, logins, refreshes))
    return result


def _live(database: str, contender: Contender, *, logins: int, refreshes: int) -> dict[str, Any]:
    # How soon a commit is safe changes no size, only how long this takes.
    with installed(contender, database, PGOPTIONS="-c synchronous_commit=off") as place:
        return place.run("live", logins=logins, refreshes=refreshes)


def _promise(
    database: str, contender: Contender, found: dict[str, Any], logins: int, refreshes: int
) -> Promise:
    if contender is OURS:
        rule = "one row a login"
        expected = {"BlacklistEntry": 0, "TokenSession": logins, "CleanupRun": 0}
    else:
        rule, rotated = "two rows a refresh and one a login", logins * refreshes
        expected = {"OutstandingToken": logins + rotated, "BlacklistedToken": rotated}
    claim = f"{contender.name} on {database} stores {rule}"
    return Promise(claim, found["rows"] == expected, str(found["rows"]))
