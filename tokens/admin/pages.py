"""Addresses of pages in an admin site, which need not have all of them."""

from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


def url(site: AdminSite, model: Any, view: str, key: Any = None) -> str | None:
    """Return the address of a view of ``model``, or None if this admin site has none."""
    options = model._meta
    name = f"{site.name}:{options.app_label}_{options.model_name}_{view}"
    try:
        return reverse(name, args=[] if key is None else [quote(key)])
    except NoReverseMatch:
        return None


def list_url(site: AdminSite, model: Any, *, user_pk: Any) -> str | None:
    """Return the address of the list of a user's rows, or None if this admin site has none."""
    address = url(site, model, "changelist")
    return address and f"{address}?{urlencode({'user': user_pk})}"


def user_url(request: HttpRequest, site: AdminSite, pk: Any) -> str | None:
    """Return the address of a user's page.

    None if this admin site has none, or if it would not open for the person who asks.
    """
    users = get_user_model()
    if not site.is_registered(users):
        return None
    may = site.get_model_admin(users).has_view_or_change_permission(request)
    return url(site, users, "change", pk) if may else None
