"""Moments as people read them: how long ago, and the exact moment under the mouse."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timesince, timeuntil
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from .. import clock

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


def shown(value: datetime) -> str:
    """Return a time in the reader's time zone, which it names, to the minute."""
    return date_format(localtime(clock.aware(value)), "Y-m-d H:i T")


def relative(value: datetime) -> str:
    """Return how long ago ``value`` was, or how long it is until then, as an element of HTML."""
    moment, now = clock.aware(value), clock.aware(clock.now())
    if abs(moment - now) < timedelta(minutes=1):
        text = _("just now")
    elif moment < now:
        text = _("%s ago") % timesince(moment, now, depth=1)
    else:
        text = _("in %s") % timeuntil(moment, now, depth=1)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), shown(moment), text
    )


def column(
    field: str, description: "str | _StrPromise", *, never: Callable[[], datetime] | None = None
) -> Callable[[Any, Any], str | None]:
    """Return a column of a list that shows the moment ``field``, or a dash if there is none.

    A time equal to ``never()`` is shown as "forever".
    """

    @admin.display(description=description, ordering=field, empty_value="-")
    def show(_admin: Any, row: Any) -> str | None:
        value = getattr(row, field)
        if value is None:
            return None
        return _("forever") if never is not None and value == never() else relative(value)

    return show


def exact(
    field: str, description: "str | _StrPromise", *, never: Callable[[], datetime] | None = None
) -> Callable[[Any, Any], str]:
    """Return a field of a page that shows the moment exactly, and how long ago it was."""

    @admin.display(description=description)
    def show(model_admin: Any, row: Any) -> str:
        value = getattr(row, field)
        if value is None:
            return str(model_admin.get_empty_value_display())
        if never is not None and value == never():
            return _("forever")
        return format_html("{} ({})", shown(value), relative(value))

    return show
