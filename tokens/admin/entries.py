"""The blacklist in the admin: read-only, except for un-revoking with the permission for it."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.auth.models import AbstractBaseUser
from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from .. import blacklist, clock
from ..conf import simplejwt
from ..entries import subject_shown_as
from ..models import BlacklistEntry
from ..querysets import oldest_in_force
from .base import OfUsersAdmin, label, moment, shortened
from .search import user_keys, uuids

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Choices = Iterable[tuple[str, "str | _StrPromise"]]


class StatusFilter(admin.SimpleListFilter):
    """Filter by status. Entries that never expire would fill the first pages, so hide them here."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            ("in_force", _("in force")),
            ("expired", _("expired")),
            ("for_good", _("in force forever")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "in_force":
                return queryset.in_force()
            case "expired":
                return queryset.expired(oldest_in_force())
            case "for_good":
                return queryset.for_good()
        if request.GET.keys() - {"p", "o"}:
            return None
        return queryset.expired(clock.end_of_time())


class NeededFilter(admin.SimpleListFilter):
    """Filter entries in force by when they expire, along the index on ``expires_at``."""

    title = _("needed until")
    parameter_name = "needed"

    _WITHIN = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            ("hour", _("the next hour")),
            ("day", _("the next 24 hours")),
            ("week", _("the next 7 days")),
            ("longer", _("longer than 7 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value() or ""
        if value in self._WITHIN:
            return queryset.in_force().filter(expires_at__lte=clock.now() + self._WITHIN[value])
        if value == "longer":
            return queryset.filter(expires_at__gt=clock.now() + self._WITHIN["week"])
        return None


@admin.register(BlacklistEntry)
class BlacklistEntryAdmin(OfUsersAdmin):
    list_display = (
        "short_subject",
        "status",
        "scope",
        "reason",
        "user_link",
        "revoked_at",
        "needed_until",
    )
    list_filter = (StatusFilter, "scope", "reason", NeededFilter)
    lookups = OfUsersAdmin.lookups | {"status", "scope__exact", "reason__exact", "needed"}
    ordering = ("-expires_at",)  # the column that has an index
    search_help_text = _("Exact id of a token, session or user, or the beginning of a user name.")
    fields = (
        "status",
        "scope",
        "subject",
        "reason",
        "user_link",
        "issued_before",
        "created_at",
        "needed_until",
        "key",
    )
    actions = ("delete_selected",)
    actions_selection_counter = False  # it would offer to select every page
    list_max_show_all = 200

    revoked_at = moment("created_at", _("revoked at"))
    needed_until = moment("expires_at", _("needed until"), never=clock.end_of_time)

    @admin.display(description=_("status"))
    def status(self, entry: BlacklistEntry) -> str:
        return label(_("in force"), "bad") if entry.in_force else label(_("expired"), "quiet")

    @admin.display(description=_("subject"))
    def short_subject(self, entry: BlacklistEntry) -> str:
        return shortened(entry.subject, 17)

    def about(self, term: str) -> Q:
        entries = BlacklistEntry.objects.all()
        issuer = simplejwt.ISSUER or ""
        found = entries.about(term, issuer=issuer)
        found |= entries.about(subject_shown_as(term), issuer=issuer)
        found |= entries.filter(key__in=uuids(term))
        # Asked for at once, so that the list's own query is a plain one along an index.
        keys = list(found.values_list("key", flat=True))
        return Q(key__in=keys) | Q(user__in=user_keys(term))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting is un-revoking, so the usual right to delete is not enough."""
        return request.user.has_perm("tokens.unrevoke_blacklistentry")

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"title": _("Un-revoke"), **(extra_context or {})}
        return super().delete_view(request, object_id, context)

    def delete_model(self, request: HttpRequest, obj: BlacklistEntry) -> None:
        blacklist.unrevoke([obj], by=cast(AbstractBaseUser, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        blacklist.unrevoke(queryset, by=cast(AbstractBaseUser, request.user))

    @admin.action(permissions=["delete"], description=_("Un-revoke selected blacklist entries"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Django's action in its place, with our confirmation page, for no more than one page."""
        if queryset[: self.list_max_show_all + 1].count() > self.list_max_show_all:
            text = _("At most %d entries can be un-revoked at once.")
            self.message_user(request, text % self.list_max_show_all, messages.ERROR)
            return None
        with transaction.atomic(router.db_for_write(BlacklistEntry)):
            response = delete_selected(self, request, queryset)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            response.context_data["title"] = _("Un-revoke")
        return response
