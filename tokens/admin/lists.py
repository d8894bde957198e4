"""Lists whose cost does not grow with the table."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import F, OrderBy, Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import clock

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator


LOOKED_THROUGH = 50_000


class CappedPaginator(AnyPaginator):
    """Count and page through at most ``cap`` rows."""

    cap = 10_000
    object_list: QuerySet[Any]

    @cached_property
    def _counted(self) -> int:
        # In the order of the list: without one, PostgreSQL begins at the oldest rows of the table,
        # and "revoked within a week" is at its other end.
        return self.object_list[: self.cap + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.cap)

    @property
    def is_capped(self) -> bool:
        """Whether there are more rows than ``count`` says."""
        return self._counted > self.cap


class BoundedChangeList(ChangeList):
    """Sort only by the columns that offer it, and show no total that was not counted."""

    def get_ordering_field(self, field_name: Any) -> Any:
        # Without this, ``?o=`` sorts by any column, even by one that has no sort link.
        if field_name not in (self.sortable_by or ()):
            return None
        return super().get_ordering_field(field_name)

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except OverflowError as error:  # SQLite can't be asked for a number beyond 64 bits
            raise IncorrectLookupParameters from error
        narrowed = self.query or self.has_active_filters
        if self.paginator.is_capped or not narrowed or not self.result_count:
            # Equal numbers hide the total beside the search box. The one below the list is correct.
            # "0 results" would read as "not refused".
            self.full_result_count = self.result_count


class NewestChangeList(BoundedChangeList):
    """Look through the first LOOKED_THROUGH rows only, if no index finds those that match.

    Otherwise a filter that hardly any row passes would read the whole table. Which rows come first
    is asked along the index that the list is sorted by, or along one that also ``narrow``s it.
    """

    LOOKED_THROUGH = LOOKED_THROUGH

    def reads_too_much(self) -> bool:
        """Return whether no index finds what the list is asked for."""
        raise NotImplementedError

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return an order for which an index is used if it is one for all rows, and none otherwise.

        A database that expects to find a person's rows soon in the order of the list would walk
        over everybody's.
        """
        first, *others = super().get_ordering(request, queryset)
        if self.query or "user" in self.params:
            return [by_sorting(str(first)), *others]
        # InnoDB goes through an index in one direction.
        sign = "-" if str(first).startswith("-") else ""
        return [first, *(f"{sign}{str(one).removeprefix('-')}" for one in others)]

    def narrowed(self, request: HttpRequest, rows: QuerySet[Any], column: str) -> QuerySet[Any]:
        """Return those of ``rows`` that an index in the order of ``column`` finds by themselves."""
        for spec in self.filter_specs:
            if getattr(spec, "column", None) == column:
                some = spec.queryset(request, rows)
                rows = rows if some is None else some
        return rows

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        found = super().get_queryset(request, *args, **kwargs)
        if not self.reads_too_much():
            return found
        order = str(super().get_ordering(request, self.root_queryset)[0])
        rows = self.root_queryset.prefetch_related(None)
        rows = self.narrowed(request, rows, order.removeprefix("-"))
        condition = first_rows(rows, order, self.LOOKED_THROUGH)
        if condition is None:
            return found
        text = gettext("Only %s rows were looked through. To see others, search for a person.")
        number = number_format(self.LOOKED_THROUGH, force_grouping=True)
        self.model_admin.message_user(request, text % number, messages.WARNING)
        return found.filter(condition)


def by_sorting(order: str) -> OrderBy:
    """Return the same order as an expression that no index has, so that rows are sorted."""
    column = F(order.removeprefix("-"))
    return OrderBy(Coalesce(column, column), descending=order.startswith("-"))


def first_rows(rows: QuerySet[Any], order: str, number: int) -> Q | None:
    """Return a condition for the first ``number`` rows in this order, or None if there are no more.

    ``order`` names one column. Rows that equal the last one in it match, too. One statement.
    """
    column, forwards = order.removeprefix("-"), not order.startswith("-")
    last = rows.order_by(order).values_list(column, flat=True)[number : number + 1].first()
    return None if last is None else Q(**{f"{column}__{'lte' if forwards else 'gte'}": last})


class WithinFilter(admin.SimpleListFilter):
    """Filter by whether the moment in ``column`` lies within the last hour, day, week or month."""

    column: str
    within: tuple[str, ...]

    _WITHIN = {
        "hour": (timedelta(hours=1), _("in the last hour")),
        "day": (timedelta(days=1), _("in the last 24 hours")),
        "week": (timedelta(days=7), _("in the last 7 days")),
        "month": (timedelta(days=30), _("in the last 30 days")),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(name, self._WITHIN[name][1]) for name in self.within]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() not in self.within:
            return None
        since = clock.now() - self._WITHIN[self.value() or ""][0]
        return queryset.filter(**{f"{self.column}__gte": clock.floor(since, queryset.db)})
