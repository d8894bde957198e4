"""Pictures of what asking whether a token is revoked costs, and of how soon it is known."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.ways import (
    CACHED,
    PLAIN,
    REDIS,
    STATELESS,
    STATELESS_CACHED,
    STATELESS_STRICT,
    STRICT,
)

# Colours that people who don't see red or green can tell apart.
_COLOURS = {
    PLAIN.name: "#999999",
    STRICT.name: "#E69F00",
    CACHED.name: "#0072B2",
    STATELESS.name: "#999999",
    STATELESS_STRICT.name: "#E69F00",
    STATELESS_CACHED.name: "#0072B2",
    REDIS.name: "#D55E00",
}
_MODES = {"strict": "#E69F00", "cached": "#0072B2"}
_GREY = "#666666"

Drawn = Iterator[tuple[str, str, Figure]]


def of_checks(figures: list[dict[str, Any]]) -> Drawn:
    """Draw authenticate() on each database, then what the question alone takes, and HTTP."""
    asked = figures[0]["ways"]
    largest = max(found["entries"] for found in asked)
    shown = [found for found in asked if found["entries"] == largest]
    figure = Figure(figsize=(3.1 * len(shown) + 1.9, 3.9), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, found in zip(panels, shown, strict=True):
        _authentication(axes, found)
    panels[0].invert_yaxis()
    figure.suptitle(f"Authenticating one request, {largest:,} entries: median (and p99)")
    yield "authentication", "Authentication", figure
    served = figures[0]["served"]
    figure = Figure(figsize=(10 if served else 6, 3.6), layout="constrained")
    panels = figure.subplots(1, 2 if served else 1, squeeze=False)[0]
    _alone(panels[0], shown)
    if served:
        _served(panels[1], served)
    yield "alone", "The check alone, and requests per second", figure


def _authentication(axes: Axes, found: dict[str, Any]) -> None:
    names = list(found["ways"])
    medians = [found["ways"][name]["median"] / 1_000 for name in names]
    slow = [found["ways"][name]["p99"] / 1_000 for name in names]
    bars = axes.barh(names, medians, 0.7, color=[_COLOURS[name] for name in names])
    texts = [f"{value:,.0f}  ({tail:,.0f})" for value, tail in zip(medians, slow, strict=True)]
    axes.bar_label(bars, texts, padding=3, fontsize=8)
    axes.set_xlim(0, 1.6 * max(medians))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("µs")
    axes.set_title(found["database"])


def _alone(axes: Axes, shown: list[dict[str, Any]]) -> None:
    labels = {
        "again": "cached check",
        "first": "cached check, token never seen",
        "between": "cached check, between verifications",
        "verification": "simplejwt verifies the token",
    }
    # Medians of the databases: the snapshot is the same whatever it was loaded from.
    values = [median(found["alone"][name]["median"] for found in shown) / 1_000 for name in labels]
    colours = [*[_COLOURS[CACHED.name]] * 3, _GREY]
    bars = axes.barh(list(labels.values()), values, 0.6, color=colours)
    axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("µs, median")
    axes.set_title("The check alone")


def _served(axes: Axes, served: list[dict[str, Any]]) -> None:
    names = [found["way"] for found in served]
    rates = [median(found["rates"]) for found in served]
    bars = axes.barh(names, rates, 0.6, color=[_COLOURS[name] for name in names])
    texts = [f"{rate:,.0f}" for rate in rates]
    axes.bar_label(bars, texts, label_type="center", color="white", fontsize=8)
    for found in served:
        axes.plot(found["rates"], [found["way"]] * len(found["rates"]), ".", color=_GREY)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("requests/s; dots are rounds")
    axes.set_title("GET /api/me/ with gunicorn, PostgreSQL")


def of_staleness(figures: list[dict[str, Any]]) -> Drawn:
    """Draw which share of the tokens was accepted how long after the answer to the logout."""
    databases = list(dict.fromkeys(found["database"] for found in figures))
    figure = Figure(figsize=(3.4 * len(databases) + 0.6, 3.9), layout="constrained")
    panels = figure.subplots(1, len(databases), sharey=True, squeeze=False)[0]
    for axes, database in zip(panels, databases, strict=True):
        for found in figures:
            if found["database"] == database:
                _shares(axes, found)
        axes.set_title(database)
        axes.set_xlabel("seconds after the answer")
    panels[0].set_ylabel("% of the tokens still accepted")
    figure.suptitle("Until when some process still accepts a token that was revoked")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    yield "shares", "Staleness", figure


def _shares(axes: Axes, found: dict[str, Any]) -> None:
    last = [*found["staleness"], found["longest"]]
    still = [100 * (1 - (number + 1) / len(last)) for number in range(len(last))]
    axes.step([-10, *last, 10], [100, *still, 0], color=_MODES[found["mode"]], where="post")
    axes.lines[-1].set_label(found["mode"])
    if found["limit"]:
        axes.axvline(found["limit"], color=_GREY, linestyle=":", label="the age limit")
    axes.set_xlim(-0.2, 1.2)
    axes.set_ylim(0, 103)
