"""What a subject reports: tables, promises and figures."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Table:
    """A table that reads well in a terminal and is Markdown too."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row; numbers get their thousands separated."""
        self.rows.append([_shown(cell) for cell in cells])

    def __str__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        head, *body = [_line(cells, widths) for cells in lines]
        rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
        rule = rule.replace("-:", "--", 1)
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([f"## {self.title}\n", head, rule, *body, *notes])


@dataclass(frozen=True)
class Promise:
    """Something that must hold, and what was seen."""

    claim: str
    kept: bool
    seen: str

    def __str__(self) -> str:
        return f"- {'kept' if self.kept else 'BROKEN'}: {self.claim} ({self.seen})"


@dataclass
class Result:
    """What one subject found."""

    subject: str
    tables: list[Table]
    figures: list[dict[str, Any]]
    promises: list[Promise]


def text_of(promises: list[Promise]) -> str:
    """Return the list of promises."""
    return "\n".join(["## Must hold\n", *map(str, promises)])


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}" if abs(cell) < 10 else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"
