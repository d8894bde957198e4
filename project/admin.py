"""Django's user admin, with a link to each user's sessions."""

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import User

from tokens.admin import SessionsLinkMixin

admin.site.unregister(User)


@admin.register(User)
class UserAdmin(SessionsLinkMixin, auth_admin.UserAdmin):  # type: ignore[type-arg]
    pass
