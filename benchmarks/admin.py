"""What the admin's pages cost on large tables."""

from typing import Any

from benchmarks.contenders import ADMIN, installed
from benchmarks.databases import available
from benchmarks.report import Promise, Result, Table

# Entries, sessions and users.
_SIZES = {
    "PostgreSQL": (10_000_000, 1_000_000, 300_000),
    "MariaDB": (2_000_000, 200_000, 100_000),
    "SQLite": (0, 0, 0),
}
_MOST_MILLISECONDS, _MOST_STATEMENTS = 300, 12


def run(*, share: float, rounds: int) -> Result:
    """Measure ``share`` of the sizes that promise something."""
    result = Result("admin", [], [], [])
    for database in available():
        entries, sessions, users = (int(number * share) for number in _SIZES[database])
        if not entries:
            continue
        with installed(ADMIN, database) as place:
            filled = place.run("crowd", entries=entries, sessions=sessions, users=users)
            pages = place.run("pages", rounds=rounds)
        table = Table(
            f"Admin: {database}, {entries:,} entries, {sessions:,} sessions, {users:,} users",
            ["page", "statements", "ms of SQL"],
            notes=[f"Best of {rounds}. The tables take {filled['bytes'] / 2**20:,.0f} MB."],
        )
        for name, page in pages.items():
            table.add(name, page["statements"], page["milliseconds"])
        result.tables.append(table)
        result.figures.append({"database": database, "entries": entries, "pages": pages})
        result.promises += _promises(database, pages)
    return result


def _promises(database: str, pages: dict[str, Any]) -> list[Promise]:
    slow = [name for name, one in pages.items() if one["milliseconds"] > _MOST_MILLISECONDS]
    many = [name for name, one in pages.items() if one["statements"] > _MOST_STATEMENTS]
    return [
        Promise(
            f"every page takes at most {_MOST_MILLISECONDS} ms of SQL on {database}",
            not slow,
            ", ".join(slow) or "all of them",
        ),
        Promise(
            f"every page takes at most {_MOST_STATEMENTS} statements on {database}",
            not many,
            ", ".join(many) or "all of them",
        ),
    ]
