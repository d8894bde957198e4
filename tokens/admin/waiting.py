"""The plot of the rows that wait for the cleanup, and of those that will wait for the next run."""

from collections.abc import Sequence
from datetime import datetime

from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import clock
from ..cleanup import waiting
from ..conf import conf
from ..databases import Counted
from .moments import shown
from .plot import Bar, Plot
from .state import told

# Bars for one TOKENS_CLEANUP_INTERVAL on each side of the present moment, and one for what should
# have gone before. The style sheet puts the words below the plot where they end.
BARS = 12

# Counting stops here for each bar and kind of row, or at the end of the time: the page must stay
# cheap.
MAX_COUNT, SECONDS = 10_000, 1.0


def rows_waiting() -> Plot | None:
    """Return when the rows that wait expired, and when others will; None if no row does."""
    now, interval = clock.now(), conf.TOKENS_CLEANUP_INTERVAL
    moments = [now + interval * number / BARS for number in range(-BARS, BARS + 1)]
    found = waiting(moments, limit=MAX_COUNT, seconds=SECONDS)
    if found is None or not any(one.rows for one in found):
        return None
    length = timesince(now - interval, now)
    values = {
        "waiting": told(_sum(found[: BARS + 1])),
        "more": told(_sum(found[BARS + 1 :])),
        "length": length,
    }
    return Plot(
        _(
            "Rows that wait for the cleanup, by when they expired."
            " Right of the line: rows that expire next."
        ),
        _("From"),
        _bars(moments, found),
        places=len(found),
        summary=_("Waiting: %(waiting)s. Within %(length)s: %(more)s more.") % values,
        line=BARS + 1,
        axis=(_("%s ago, or earlier") % length, _("now"), _("in %s") % length),
        shows_zero=False,
    )


def _bars(moments: Sequence[datetime], found: Sequence[Counted]) -> list[Bar]:
    """Return a bar for each number, orange if a run should have removed the rows."""
    kinds = ["odd", *["busy"] * BARS, *["quiet"] * BARS]
    begins = [_("earlier"), *[shown(moment) for moment in moments[:-1]]]
    return [
        Bar(counted.rows, kind, begin, _rows(counted))
        for counted, kind, begin in zip(found, kinds, begins, strict=True)
    ]


def _rows(counted: Counted) -> str:
    return ngettext("%s row", "%s rows", counted.rows) % told(counted)


def _sum(each: Sequence[Counted]) -> Counted:
    return Counted(sum(one.rows for one in each), at_least=any(one.at_least for one in each))
