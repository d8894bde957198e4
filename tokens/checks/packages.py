"""Other packages that need a piece of this app."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import get_resolver

from ..conf import conf
from .protection import routes

_GLUE = "tokens.contrib.dj_rest_auth"
_SOCIAL = "djoser.social.token.jwt.TokenStrategy"


@register(Tags.security)
def check_dj_rest_auth(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error if dj-rest-auth's logout would revoke nothing."""
    given = getattr(settings, "REST_AUTH", None) or {}
    uses_jwt = given.get("USE_JWT") or getattr(settings, "REST_USE_JWT", False)
    if not apps.is_installed("dj_rest_auth") or not uses_jwt:
        return []
    if not apps.is_installed(_GLUE):
        message = "dj_rest_auth answers that a user has logged out, but it revokes no token."
        hint = f'Add "{_GLUE}" to INSTALLED_APPS.'
    elif not conf.TOKENS_PATCH_SIMPLEJWT:
        message = "dj_rest_auth makes and refreshes its tokens by simplejwt's own classes."
        hint = "Remove TOKENS_PATCH_SIMPLEJWT, or set it to True."
    else:
        return []
    return [Error(message, hint=hint, id="tokens.E030")]


@register(Tags.urls)
def check_djoser(**kwargs: Any) -> list[CheckMessage]:
    """Return an Error if djoser's social logins have no session. Its other URLs are E022's."""
    urls = getattr(settings, "ROOT_URLCONF", None)
    if conf.TOKENS_PATCH_SIMPLEJWT or not urls or not apps.is_installed("djoser"):
        return []
    given = getattr(settings, "DJOSER", None) or {}
    if given.get("SOCIAL_AUTH_TOKEN_STRATEGY", _SOCIAL) != _SOCIAL:
        return []
    return [
        Error(
            f"The URL {route!r} of djoser makes tokens by simplejwt's own classes, which logging"
            " out everywhere does not reach.",
            hint="Remove TOKENS_PATCH_SIMPLEJWT, or set it to True.",
            id="tokens.E031",
        )
        for route, view in routes(get_resolver().url_patterns)
        if getattr(view, "cls", view).__module__ == "djoser.social.views"
    ]
