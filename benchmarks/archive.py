"""The files that keep results: Markdown, JSON and plots."""

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks import plots
from benchmarks.report import Result, text_of

RESULTS = Path(__file__).resolve().parent / "results"


def write(results: list[Result], facts: dict[str, str], databases: list[str]) -> Path:
    """Write the results as Markdown, JSON and plots; return the path of the Markdown file.

    Its name contains ``databases``: those that were asked for, none if all were.
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
    written = plots.write(result.subject, result.figures, RESULTS / name)
    return [f"![{title}]({path.name})" for title, path in written]
