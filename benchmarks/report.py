"""Tables, and the files that keep them."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


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


def write(results: list[Result], facts: dict[str, str], databases: list[str]) -> Path:
    """Write the results as Markdown, JSON and plots; return the path of the Markdown file.

    ``databases`` are in its name: those that were asked for, none if all were.
    """
    RESULTS.mkdir(exist_ok=True)
    subjects = [result.subject for result in results]
    chosen = [*(subjects if len(subjects) < 3 else []), *map(str.lower, databases)]
    name = "-".join([facts["date"][:10], *chosen])
    described = [f"- {fact}: {value}" for fact, value in facts.items()]
    sections = [
        part for result in results for part in (*map(str, result.tables), *_drawn(result, name))
    ]
    promises = [promise for result in results for promise in result.promises]
    parts = ["# Benchmarks", "\n".join(described), *sections, text_of(promises)]
    markdown = RESULTS / f"{name}.md"
    markdown.write_text("\n\n".join(parts) + "\n")
    figures = {result.subject: result.figures for result in results}
    document = {"facts": facts, "figures": figures, "promises": [asdict(item) for item in promises]}
    markdown.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    return markdown


def _drawn(result: Result, name: str) -> list[str]:
    """Draw the plots of a result, and return the Markdown that shows them."""
    from benchmarks import plots  # needs the names of the subjects, which need this module

    written = plots.write(result.subject, result.figures, RESULTS / name)
    return [f"![{title}]({path.name})" for title, path in written]


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}" if abs(cell) < 10 else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"
