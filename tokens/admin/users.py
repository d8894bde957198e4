"""A mixin for a project's own user admin."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.inspect import func_accepts_kwargs, func_supports_parameter
from django.utils.translation import gettext_lazy as _

from . import ending
from .base import unsupported
from .person import page_of

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object

_FIELD = "token_sessions"


class SessionsLinkMixin(ModelAdmin):
    """Show each user's sessions in your user admin, and end sessions from the user list.

    People who may view sessions see them first on a user's page, with the latest revocations if
    they may view these. People who may end sessions can end them there, and get the action "End
    all sessions of the selected users" in the list of users::

        class UserAdmin(SessionsLinkMixin, django.contrib.auth.admin.UserAdmin): ...

    To place the field yourself, put ``token_sessions`` into your ``fieldsets``.
    """

    @property
    def media(self) -> forms.Media:
        return super().media + forms.Media(css={"all": ["tokens/admin.css"]})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        shown = obj is not None and request.user.has_perm("tokens.view_tokensession")
        if not shown or _FIELD in flatten_fieldsets(fieldsets):
            return fieldsets
        return [(_("Tokens"), {"fields": (_FIELD,)}), *fieldsets]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None:
            obj.tokens_viewer = request.user  # a field is not told who looks at it
        return (*super().get_readonly_fields(request, obj), _FIELD)

    @admin.display(description=_("sessions"))
    def token_sessions(self, user: Any) -> str:
        """Return where the user is logged in, and what was revoked lately."""
        if unsupported() is not None:
            return str(self.get_empty_value_display())
        viewer = getattr(user, "tokens_viewer", AnonymousUser())
        return page_of(self.admin_site, user, viewer)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        actions = self._other_actions(request, action_location)
        switched_off = self.actions is None or IS_POPUP_VAR in request.GET
        in_list = action_location is None or action_location.name == "CHANGE_LIST"
        if in_list and not switched_off and request.user.has_perm(ending.RIGHT):
            action = self.get_action(end_all_sessions)
            actions[end_all_sessions.__name__] = action
        return actions

    def _other_actions(self, request: HttpRequest, action_location: Any) -> Any:
        """Return the actions of the classes below. Django passes a location from 6.1 on."""
        get_actions: Any = super().get_actions
        name = "action_location"
        if func_supports_parameter(get_actions, name) or func_accepts_kwargs(get_actions):
            given = {} if action_location is None else {name: action_location}
            return get_actions(request, **given)
        if action_location is not None and action_location.name != "CHANGE_LIST":
            return {}  # as Django does if a class knows no locations
        return get_actions(request)


@admin.action(description=_("End all sessions of the selected users"))
def end_all_sessions(
    model_admin: "admin.ModelAdmin[Any]", request: HttpRequest, queryset: QuerySet[Any]
) -> HttpResponse | None:
    pks = queryset.order_by("pk").values_list("pk", flat=True)[: ending.MAX_USERS + 1]
    return ending.end_everywhere(model_admin, request, pks, action=end_all_sessions.__name__)
