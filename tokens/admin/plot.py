"""Plots of bars, drawn by the server: without a script, and without an attribute "style".

Each says the same in a table, for people who don't see it or who want the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

WIDTH, HEIGHT = 600, 100
_GAP = 2
_LOWEST = 2  # so that few rows beside many are seen


@dataclass(frozen=True)
class Bar:
    """A bar as high as ``value``, in the colour of ``kind``: what it stands for, and its number."""

    value: int
    kind: str
    what: str
    told: str

    def __str__(self) -> str:
        return f"{self.what}: {self.told}"


@dataclass(frozen=True)
class Plot:
    """Bars with room for so many ``places``, the last bar at the right.

    ``name`` says what the bars are, ``heading`` what each stands for, and ``summary`` what they
    say; without one a screen reader is told the last three. A line stands before the place
    ``line``, and the words of ``axis`` below: at the left, at the line, and at the right.
    ``shows_zero`` tells whether a bar of height zero is seen.
    """

    name: str
    heading: str
    shown: Sequence[Bar]
    places: int
    summary: str = ""
    line: int | None = None
    axis: tuple[str, str, str] | None = None
    shows_zero: bool = True


def bars(plot: Plot) -> Any:
    """Return the plot as HTML."""
    highest = max((bar.value for bar in plot.shown), default=0) or 1
    summary = plot.summary or "; ".join(str(bar) for bar in plot.shown[-3:])
    scale = _("The highest bar: %s.") % number_format(highest, force_grouping=True)
    return format_html(
        '<figure class="tokens-plot"><figcaption>{} <span>{} {}</span></figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">{}{}</svg>'
        "{}{}</figure>",
        plot.name,
        plot.summary,
        scale,
        WIDTH,
        HEIGHT,
        f"{plot.name} {summary}",
        _rectangles(plot, highest),
        _line(plot),
        _axis(plot),
        _table(plot),
    )


def _rectangles(plot: Plot, highest: int) -> SafeString:
    step, first = WIDTH / plot.places, plot.places - len(plot.shown)
    rows = (
        (
            bar.kind,
            f"{(first + place) * step:.1f}",
            f"{HEIGHT - height:.1f}",
            f"{step - _GAP:.1f}",
            f"{height:.1f}",
            str(bar),
        )
        for place, bar in enumerate(plot.shown)
        for height in [max(bar.value / highest * HEIGHT, _LOWEST)]
        if bar.value or plot.shows_zero
    )
    rectangle = (
        '<rect class="tokens-bar-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    )
    return format_html_join("", rectangle, rows)


def _line(plot: Plot) -> str:
    if plot.line is None:
        return ""
    x = f"{plot.line * WIDTH / plot.places - _GAP / 2:.1f}"
    return format_html('<line class="tokens-line" x1="{}" y1="0" x2="{}" y2="{}"/>', x, x, HEIGHT)


def _axis(plot: Plot) -> str:
    if plot.axis is None:
        return ""
    words = format_html_join("", "<span>{}</span>", [(word,) for word in plot.axis])
    return format_html('<div class="tokens-axis" aria-hidden="true">{}</div>', words)


def _table(plot: Plot) -> SafeString:
    rows = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td>{}</td></tr>',
        ((bar.what, bar.told) for bar in reversed(plot.shown)),
    )
    return format_html(
        "<details><summary>{}</summary><table>"
        '<thead><tr><th scope="col">{}</th><th scope="col">{}</th></tr></thead>'
        "<tbody>{}</tbody></table></details>",
        _("The same as a table"),
        plot.heading,
        _("Rows"),
        rows,
    )
