"""What the admin classes share: read-only pages whose cost does not grow with the table.

With millions of rows, they count no more rows than they page through, sort and search along
indexes only, and offer no list of all users.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import django
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import BadRequest, ObjectDoesNotExist, ValidationError
from django.db import connections
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import blacklist, databases
from ..models import Lookup
from ..users import database, everyone
from .lists import BoundedChangeList, CappedPaginator
from .pages import url, user_url
from .search import MAX_USERS, ip_addresses, users_called, users_named

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


Choices = Iterable[tuple[str, "str | _StrPromise"]]

# The style sheet of Django 6.1 knows no other breadcrumbs.
BREADCRUMBS_IN_LIST = django.VERSION >= (6, 1)


def unsupported() -> HttpResponse | None:
    """Return the answer 503 if the app has no SQL for the blacklist's database, which it names."""
    connection = connections[blacklist.database()]
    if databases.supports(connection):
        return None
    text = str(databases.UnsupportedDatabase(connection))
    return HttpResponse(text, status=503, content_type="text/plain; charset=utf-8")


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
    change_form_template = "admin/tokens/change_form.html"
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read what the actions write, and no replica that lags behind it."""
        return super().get_queryset(request).using(blacklist.database())

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return unsupported() or super().changelist_view(request, *args, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return unsupported() or super().changeform_view(request, *args, **kwargs)

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

    class Media:
        js = ["tokens/search.js"]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        term = request.GET.get("q", "").strip()
        page = self._lookup_url(request)
        if page and term.startswith("eyJ"):  # no JavaScript, or a link
            text = _("Paste the token here. In the address of a page, logs keep it.")
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(page)
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        changes = context.get("cl")
        for row in changes.result_list if changes else ():
            row.shown_to = request
        if page and term and changes and not changes.result_count:
            nothing = gettext(
                'Nothing in this list is called that. <a href="{}">Look it up</a>: a token can also'
                " be refused through its session or its user."
            )
            self.message_user(request, format_html(nothing, page), messages.INFO)
        return response

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        row = super().get_object(request, *args, **kwargs)
        if row is not None:
            row.shown_to = request  # a field is not told who looks at it
        return row

    def _lookup_url(self, request: HttpRequest) -> str | None:
        """Return the page that looks tokens up, if there is one that this person may use."""
        if not request.user.has_perm("tokens.view_blacklistentry"):
            return None
        return url(self.admin_site, Lookup, "changelist")

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
        if not users and not ip_addresses(term):  # which has no letter case
            # Only now, because letter case and e-mail addresses have no index.
            users = [user.pk for user in users_called(term, limit=MAX_USERS)]
        if not are_all:
            text = _("Many user names begin like this. The list covers %d of these users only.")
            self.message_user(request, text % len(users), messages.WARNING)
        return queryset.filter(self.about(term) | Q(user__in=users)), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Not a join: it would drop the sessions of a deleted user, and it can't reach users in
        # another database.
        users = Prefetch("user", everyone(database()))
        return super().get_queryset(request).prefetch_related(users)

    @admin.display(description=_("user"))
    def user_link(self, row: Any) -> str:
        """Return the user's name, linked to a page that one may open, or a deleted user's id."""
        if row.user_id is None:
            return str(self.get_empty_value_display())
        user: AbstractBaseUser | None
        try:
            user = row.user
        except ObjectDoesNotExist:
            user = None
        if user is None:
            return gettext("%s (deleted)") % str(row.user_id)
        name, address = user.get_username(), user_url(row.shown_to, self.admin_site, user.pk)
        return format_html('<a href="{}">{}</a>', address, name) if address else name


def label(text: "str | _StrPromise", kind: str, *, title: str = "") -> str:
    """Return ``text`` as a label in the colour of ``kind``: good, busy, odd, bad or quiet.

    The mouse pointer reveals the ``title``.
    """
    shape = '<span class="tokens-label tokens-{}" title="{}">{}</span>'
    return format_html(shape, kind, title, text)


def shortened(text: str, length: int) -> str:
    """Return the beginning of ``text``; the mouse pointer reveals all of it."""
    short = Truncator(text).chars(length)
    return short if short == text else format_html('<span title="{}">{}</span>', text, short)


def short_id(text: str) -> str:
    """Return the end of an id, by which people tell ids apart: their beginnings are moments."""
    return text if len(text) <= 8 else f"…{text[-7:]}"
