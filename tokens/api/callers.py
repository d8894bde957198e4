"""Who may ask about other people's tokens: services with a right of their own."""

from typing import Any

from django.contrib.auth import get_permission_codename, get_user_model
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.settings import api_settings

from ..models import BlacklistEntry
from .views import TokenView

INTROSPECT = f"{BlacklistEntry._meta.app_label}.introspect_token"


class MayIntrospect(BasePermission):
    """Let in users who have the right ``tokens.introspect_token``."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return has_right(request.user, INTROSPECT)


def has_right(user: Any, name: str) -> bool:
    """Return whether a caller has a permission; one that is no user of Django's has none."""
    ask = getattr(user, "has_perm", None)
    return ask is not None and bool(ask(name))


def may_see_users(user: Any) -> bool:
    """Return whether a caller may read users, as in the admin."""
    options: Any = get_user_model()._meta
    return has_right(user, f"{options.app_label}.{get_permission_codename('view', options)}")


class CallerView(TokenView):
    """An endpoint for services that may introspect.

    The project's default authentication classes tell who calls, or those that a subclass names.
    A subclass whose callers are no users, but have keys, say, names ``permission_classes`` too.
    """

    permission_classes = (MayIntrospect,)  # type: ignore[assignment]
    throttle_scope = "tokens_introspect"

    def get_authenticators(self) -> list[Any]:
        usual: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
        own: Any = self.authentication_classes  # a subclass may name some
        return [one() for one in own or usual]

    def get_authenticate_header(self, request: Request) -> str:
        """Return the first challenge that a class has: a session cookie has none."""
        challenges = (one.authenticate_header(request) for one in self.get_authenticators())
        return next(filter(None, challenges), super().get_authenticate_header(request))
