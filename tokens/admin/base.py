"""What the admin classes share: read-only pages whose cost does not grow with the table.

With millions of rows, they count no more rows than they page through, sort and search along
indexes only, and offer no list of all users.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import BadRequest, ObjectDoesNotExist, ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .search import users_named

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    ModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    ModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator


class CappedPaginator(AnyPaginator):
    """Count and page through at most ``cap`` rows."""

    cap = 10_000
    object_list: QuerySet[Any]

    @cached_property
    def _counted(self) -> int:
        return self.object_list.order_by()[: self.cap + 1].count()

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
        if self.paginator.is_capped or not narrowed:
            # Equal numbers hide the total beside the search box. The one below the list is correct.
            self.full_result_count = self.result_count


class ReadOnlyAdmin(ModelAdmin):
    """Show rows; never add, change or delete any."""

    fields: ClassVar[tuple[str, ...]] = ()
    # The only query parameters that filter. Django would accept any lookup on a column, so that
    # people could guess values they are not shown, or run a regex over the whole table.
    lookups: frozenset[str] = frozenset()
    actions: tuple[str, ...] = ()
    sortable_by: ClassVar[tuple[str, ...]] = ()
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each count would read the whole table
    paginator = CappedPaginator

    class Media:
        css = {"all": ["tokens/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> Any:
        key = self.opts.pk
        try:
            for value in request.POST.getlist(helpers.ACTION_CHECKBOX_NAME):
                key.to_python(value)
        except ValidationError as error:  # no row of ours; Django would answer 500
            raise BadRequest from error
        return super().response_action(request, queryset, *args, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self.lookups and "\0" not in value


class OfUsersAdmin(ReadOnlyAdmin):
    """Show rows that belong to users, even deleted ones, and find them by user name."""

    search_fields = ("pk",)  # only makes the search box appear
    lookups = frozenset({"user"})

    def about(self, term: str) -> Q:
        """Return which rows match ``term`` directly, regardless of their user."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        users, are_all = users_named(term)
        if not are_all:
            text = _("Many user names begin like this. The list covers %d of these users only.")
            self.message_user(request, text % len(users), messages.WARNING)
        return queryset.filter(self.about(term) | Q(user__in=users)), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Not a join: it would drop the sessions of a deleted user, and it can't reach users in
        # another database.
        return super().get_queryset(request).prefetch_related("user")

    @admin.display(description=_("user"))
    def user_link(self, row: Any) -> str:
        """Return the user's name, linked to the user's page, or the id of a deleted user."""
        if row.user_id is None:
            return str(self.get_empty_value_display())
        user: AbstractBaseUser | None
        try:
            user = row.user
        except ObjectDoesNotExist:
            user = None
        if user is None:
            return gettext("%s (deleted)") % str(row.user_id)
        options = get_user_model()._meta
        name = f"{self.admin_site.name}:{options.app_label}_{options.model_name}_change"
        try:
            url = reverse(name, args=[quote(user.pk)])
        except NoReverseMatch:  # users have no page in this admin site
            return user.get_username()
        return format_html('<a href="{}">{}</a>', url, user.get_username())


def moment(
    field: str, description: "str | _StrPromise", *, never: Callable[[], datetime] | None = None
) -> Callable[[Any, Any], str]:
    """Return a column that shows a time, short enough for a list of many columns.

    A time equal to ``never()`` is shown as "forever".
    """

    @admin.display(description=description, ordering=field)
    def column(_admin: ReadOnlyAdmin, row: Any) -> str:
        value = getattr(row, field)
        if never is not None and value == never():
            return gettext("forever")
        return shown(value)

    return column


def shown(value: datetime) -> str:
    """Return a time in the reader's time zone, to the minute."""
    return date_format(localtime(value) if is_aware(value) else value, "Y-m-d H:i")


def label(text: "str | _StrPromise", kind: str) -> str:
    """Return ``text`` as a label in the colour of ``kind``: good, busy, odd, bad or quiet."""
    return format_html('<span class="tokens-label tokens-{}">{}</span>', kind, text)


def shortened(text: str, length: int) -> str:
    """Return the beginning of ``text``; the mouse pointer reveals all of it."""
    short = Truncator(text).chars(length)
    return short if short == text else format_html('<span title="{}">{}</span>', text, short)
