"""Pictures of the figures in a result: ``python -m benchmarks.plots results/NAME.json``."""

import json
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, NullFormatter, NullLocator
from PIL import Image

from benchmarks import check_plots
from benchmarks.cleanup import CLEAR, COMMAND, DELETE, FLUSH, by_way
from benchmarks.latency import AGAIN, FULL_SPEED, PERCENTILES, WITH, WITHOUT

# Colours that people who don't see red or green can tell apart.
_COLOURS = {
    COMMAND: "#0072B2",
    DELETE: "#999999",
    FLUSH: "#D55E00",
    CLEAR: "#E69F00",
    WITHOUT: "#999999",
    AGAIN: "#666666",
    WITH: "#D55E00",
    FULL_SPEED: "#0072B2",
}
_LABELS = {
    COMMAND: "cleanup_tokens",
    DELETE: "one plain DELETE",
    FLUSH: "simplejwt, flushexpiredtokens",
    CLEAR: "django-oauth-toolkit, cleartokens",
    WITHOUT: "no cleanup",
    AGAIN: "no cleanup, measured again",
    WITH: "cleanup_tokens",
    FULL_SPEED: "cleanup_tokens --pause 0",
}
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": "medium",
    "grid.color": "#E5E5E5",
    "font.size": 10,
    "legend.frameon": False,
    "savefig.dpi": 110,
}


def write(subject: str, figures: list[dict[str, Any]], stem: Path) -> list[tuple[str, Path]]:
    """Draw what there is to draw of a subject; return titles and files."""
    written = []
    with mpl.rc_context(_STYLE):
        for name, title, figure in _DRAWN.get(subject, lambda _: iter(()))(figures):
            # Not with_suffix: a name may have dots.
            path = stem.parent / f"{stem.name}-{name}.png"
            _save(figure, path)
            written.append((title, path))
    return written


def _save(figure: Figure, path: Path) -> None:
    """Save as a PNG of few colours, which is a third of the size."""
    drawn = BytesIO()
    figure.savefig(drawn)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def _of_cleanup(figures: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
    """Draw the sizes at which all ways were measured; the first of each database."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for figure in figures:
        same = [
            other
            for other in figures
            if all(
                other.get(name) == figure.get(name)
                for name in ("database", "expired", "live", "fill")
            )
        ]
        title = f"{figure['database']}\n{figure['expired']:,} rows\n{figure.get('fill', '')}"
        if FLUSH in {other["way"] for other in same}:
            found.setdefault(title, by_way(same))
    yield (
        "time",
        "Time",
        _bars(found, "seconds", 1, "seconds (log scale)", "Time to remove"),
    )
    yield (
        "memory",
        "Memory",
        _bars(found, "memory", 2**20, "MB above the start (log scale)", "Memory needed to remove"),
    )


def _bars(
    found: dict[str, dict[str, dict[str, Any]]], name: str, unit: int, label: str, title: str
) -> Figure:
    """Return groups of bars, one group for each database."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    ways = [COMMAND, DELETE, CLEAR, FLUSH]
    width = 0.8 / len(ways)
    least = 0.1 if name == "memory" else 0.001  # what a logarithm can show
    for number, way in enumerate(ways):
        places = [group + (number - 1.5) * width for group in range(len(found))]
        values = [facts.get(way, {}).get(name) for facts in found.values()]
        heights = [0 if value is None else max(value / unit, least) for value in values]
        bars = axes.bar(places, heights, width * 0.92, label=_LABELS[way], color=_COLOURS[way])
        texts = ["failed" if value is None else _short(value / unit) for value in values]
        axes.bar_label(bars, texts, padding=2, fontsize=8)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(range(len(found)), list(found))
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(label)
    axes.margins(y=0.12)
    figure.suptitle(f"{title} expired tokens")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _short(value: float) -> str:
    if value < 0.01:
        return "0"
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _of_latency(figures: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
    """Draw for each database at which latency so many percent of all requests were answered."""
    figure = Figure(figsize=(3.6 * len(figures) + 0.6, 4.2), layout="constrained")
    panels = figure.subplots(1, len(figures), sharey=True, squeeze=False)[0]
    for axes, found in zip(panels, figures, strict=True):
        _curves(axes, found)
    panels[0].set_ylabel("milliseconds (log scale)")
    figure.suptitle("Latency of live logins, refreshes and logouts")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    yield "percentiles", "Latency", figure


def _curves(axes: Axes, found: dict[str, Any]) -> None:
    shown = [percent for percent in PERCENTILES if 10 <= percent <= 99.9]
    for condition, facts in found["conditions"].items():
        curve = dict(zip(PERCENTILES, facts["operations"]["all"]["curve"], strict=True))
        # Equal steps for 90, 99 and 99.9 %: the tail is what matters.
        axes.plot(
            [100 / (100 - percent) for percent in shown],
            [curve[percent] for percent in shown],
            label=_LABELS[condition],
            color=_COLOURS[condition],
            linestyle="--" if condition == AGAIN else "-",
            linewidth=1.8,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = (50, 90, 99, 99.9)
    axes.set_xticks([100 / (100 - percent) for percent in ticks], [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("percent of requests answered")
    axes.set_title(found["database"])


def _of_growth(figures: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
    """Draw time and memory over the number of rows, both axes logarithmic."""
    figure = Figure(figsize=(8, 3.9), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    sizes = [found["expired"] for found in figures]
    times = [found["seconds"] for found in figures]
    colour = _COLOURS[COMMAND]
    seconds.plot(sizes, times, "o-", color=colour, label="measured")
    linear = [times[-1] * size / sizes[-1] for size in sizes]
    seconds.plot(sizes, linear, ":", color="#666666", label="twice the rows, twice the time")
    for size, time in zip(sizes, times, strict=True):
        place = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
        seconds.annotate(f"{_short(time)} s", (size, time), (-8, 7), **place)
    seconds.set_yscale("log")
    seconds.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    seconds.yaxis.set_minor_locator(NullLocator())
    seconds.margins(x=0.2, y=0.15)
    seconds.legend(loc="lower right", fontsize=8)
    seconds.set_title("seconds")
    memory.plot(sizes, [found["memory"] / 2**20 for found in figures], "o-", color=colour)
    memory.axhline(20, color="#666666", linestyle=":")
    memory.annotate(
        "promised: at most 20 MB", (sizes[0], 20), (0, -11), textcoords="offset points", fontsize=8
    )
    memory.set_ylim(0, 22)
    memory.set_yticks(range(0, 21, 5))
    memory.set_title("MB above the start")
    for axes in (seconds, memory):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(LogFormatterSciNotation())
        axes.set_xticks(sizes)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("expired rows")
    figure.suptitle("cleanup_tokens on PostgreSQL, by number of rows")
    yield "by-rows", "Growth", figure


_DRAWN = {
    "cleanup": _of_cleanup,
    "latency": _of_latency,
    "growth": _of_growth,
    "checks": check_plots.of_checks,
    "staleness": check_plots.of_staleness,
}


def main(names: list[str]) -> None:
    """Draw again what is in JSON files."""
    for path in map(Path, names):
        for subject, figures in json.loads(path.read_text())["figures"].items():
            for _title, written in write(subject, figures, path.with_suffix("")):
                print(written.name)


if __name__ == "__main__":
    main(sys.argv[1:])
