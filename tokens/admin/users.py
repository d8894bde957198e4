"""A mixin for a project's own user admin."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .. import blacklist
from ..models import TokenSession
from . import ending

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object

_FIELD, _ACTION = "token_sessions", "end_all_sessions"
_MAX_COUNT = 1_000


class SessionsLinkMixin(ModelAdmin):
    """Link each user to their sessions in your user admin, and end sessions from the user list.

    People who may view sessions see a field "Sessions" on a user's page. People who may end
    sessions get the action "End all sessions of the selected users" in the list of users::

        class UserAdmin(SessionsLinkMixin, django.contrib.auth.admin.UserAdmin): ...

    To place the field yourself, put ``token_sessions`` into your ``fieldsets``.
    """

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        shown = obj is not None and request.user.has_perm("tokens.view_tokensession")
        if not shown or _FIELD in flatten_fieldsets(fieldsets):
            return fieldsets
        return [*fieldsets, (_("Tokens"), {"fields": (_FIELD,)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*super().get_readonly_fields(request, obj), _FIELD)

    @admin.display(description=_("sessions"))
    def token_sessions(self, user: Any) -> str:
        """Return how many sessions the user has, linked to the list of them."""
        rows = TokenSession.objects.using(blacklist.database()).of_user(user.pk)
        number = rows[: _MAX_COUNT + 1].count()
        text = ngettext("%d session", "%d sessions", number) % number
        if number > _MAX_COUNT:
            text = str(_("more than %d sessions") % _MAX_COUNT)
        try:
            url = reverse(f"{self.admin_site.name}:tokens_tokensession_changelist")
        except NoReverseMatch:  # sessions have no page in this admin site
            return text
        return format_html('<a href="{}?{}">{}</a>', url, urlencode({"user": user.pk}), text)

    def get_actions(self, request: HttpRequest) -> Any:
        actions: Any = super().get_actions(request)
        switched_off = self.actions is None or IS_POPUP_VAR in request.GET
        if not switched_off and request.user.has_perm(ending.RIGHT):
            text = _("End all sessions of the selected users")
            actions[_ACTION] = (_end_all_sessions, _ACTION, text)
        return actions


def _end_all_sessions(
    model_admin: "admin.ModelAdmin[Any]", request: HttpRequest, queryset: QuerySet[Any]
) -> HttpResponse | None:
    pks = queryset.order_by("pk").values_list("pk", flat=True)[: ending.MAX_USERS + 1]
    return ending.end_everywhere(model_admin, request, pks, action=_ACTION)
