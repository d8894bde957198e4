"""Log out through dj-rest-auth's view.

Its own code revokes the token only if simplejwt's blacklist app is installed, and answers that it
succeeded in any case.
"""

from collections.abc import Callable, Iterator
from typing import Any

from dj_rest_auth.app_settings import api_settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import Token

from ... import sessions
from ...api.errors import DATABASE_ERRORS, unavailable
from ...claims import Claims
from ...exceptions import TokenMalformed
from ...jwt import RevocableToken, refresh_token_class


class _NotLoggedOut(Exception):
    """Nothing was revoked. The arguments are the message and the status of the answer."""


def log_out(theirs: Callable[[], Any], request: Any) -> Any:
    """End the login of the request, and return the response of dj-rest-auth's own code.

    That code forgets the cookies, the Django session and the key of authtoken. The answer is the
    one it gives if it has a blacklist: 401 if the refresh token is missing or refused, unless an
    access token tells which login to end. Raises BlacklistUnavailable.
    """
    if not api_settings.USE_JWT:
        return theirs()
    try:
        sessions.end(_claims(request))
    except _NotLoggedOut as refusal:
        detail, status = refusal.args
    except DATABASE_ERRORS as error:
        raise unavailable() from error
    else:
        detail, status = _("Successfully logged out."), 200
    response = theirs()
    response.data, response.status_code = {"detail": detail}, status
    return response


def _claims(request: Any) -> Claims:
    """Return the claims of the refresh token or, failing that, of the request's access token."""
    refusal: _NotLoggedOut | None = None
    for find in _places():
        try:
            token: RevocableToken = refresh_token_class()(find(request))
            return token.claims
        except KeyError:
            continue
        except TokenError as error:
            refusal = refusal or _NotLoggedOut(_(str(error)), 401)
        except TypeError:  # the body is no object; dj-rest-auth's own code answers so
            refusal = refusal or _NotLoggedOut(_("An error has occurred."), 500)
    if isinstance(request.auth, Token):
        try:
            return Claims.of(request.auth)
        except TokenMalformed as error:
            refusal = refusal or _NotLoggedOut(_(str(error)), 401)
    raise refusal or _not_included()


def _places() -> Iterator[Callable[[Any], Any]]:
    """Yield where the refresh token may be, first where dj-rest-auth expects it."""
    places = [_in_cookie, _in_body]
    yield from places if api_settings.JWT_AUTH_HTTPONLY else reversed(places)


def _in_cookie(request: Any) -> Any:
    return request.COOKIES[api_settings.JWT_AUTH_REFRESH_COOKIE]


def _in_body(request: Any) -> Any:
    try:
        found = request.data["refresh"]
    except APIException as error:  # the body can't be read
        raise KeyError from error
    if found == "":  # what dj-rest-auth puts into the answer to a login if it sets cookies
        raise KeyError("refresh")
    return found


def _not_included() -> _NotLoggedOut:
    if api_settings.JWT_AUTH_HTTPONLY:
        return _NotLoggedOut(_("Refresh token was not included in cookie data."), 401)
    return _NotLoggedOut(_("Refresh token was not included in request data."), 401)
