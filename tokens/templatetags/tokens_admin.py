"""What the templates of the admin need.

Django imports this in every project that has templates, also without its admin. So nothing of ours
is imported before a template needs it.
"""

from datetime import datetime
from typing import Any

from django import forms, template

register = template.Library()


@register.filter
def shown(value: datetime) -> str:
    """Return a time in the reader's time zone, which it names, to the minute."""
    from ..admin import moments

    return moments.shown(value)


@register.filter
def relative(value: datetime) -> str:
    """Return how long ago ``value`` was, or how long it is until then, as an element of HTML."""
    from ..admin import moments

    return moments.relative(value)


@register.simple_tag
def tokens_media() -> Any:
    """Return the link to the style sheet of our pages."""
    return forms.Media(css={"all": ["tokens/admin.css"]}).render()


@register.simple_tag(takes_context=True)
def tokens_front_page(context: template.RequestContext) -> dict[str, Any] | None:
    """Return what the front page of the app shows to the person who asks."""
    from django.contrib import admin

    from ..admin.front import front_page

    request = context.request  # which a project's context processors need not give
    site = next((one for one in admin.sites.all_sites if one.name == request.current_app), None)
    return front_page(request, site or admin.site)


@register.simple_tag
def tokens_way(opts: Any, apps: list[dict[str, Any]]) -> dict[str, str | None]:
    """Return the addresses of the page of an app and of the list of a model, if they open.

    ``apps`` is what Django's admin shows of apps and models to the person who asks.
    """
    app = next((one for one in apps if one["app_label"] == opts.app_label), None)
    if app is None:
        return {}
    lists = [one["admin_url"] for one in app["models"] if one["object_name"] == opts.object_name]
    return {"app": app["app_url"], "list": next(iter(lists), None)}
