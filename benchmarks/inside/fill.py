"""Fill the tables of a contender with logins: expired ones, and some still in force."""

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from django.conf import settings

from benchmarks.inside import bulk, texts
from benchmarks.inside.population import Login, logins
from benchmarks.inside.tables import APP

_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/142.0.0.0 Safari/537.36"
)
_TOKEN_DIGITS = 288  # the length of a refresh token of simplejwt with HS256


def main(expired: int, live: int, *, spread: bool = False) -> dict[str, Any]:
    began = time.monotonic()
    now = time.time()
    _FILL[APP](lambda: logins(expired, live, now, spread=spread))
    bulk.settle()
    return {"seconds": time.monotonic() - began}


Population = Callable[[], Iterator[Login]]


def _fill_ours(population: Population) -> None:
    """Whoever logged out left an entry; whoever went away left a session."""
    from tokens.models import BlacklistEntry, TokenSession

    bulk.load(
        BlacklistEntry,
        "key scope subject user reason created_at expires_at ip_address user_agent",
        (
            (
                *(sid, "session", texts.hyphened(sid), texts.user(), "logout"),
                *(texts.time(login.created), texts.time(login.expires), "203.0.113.7", _AGENT),
            )
            for login in population()
            if login.logged_out
            for sid in [texts.uuid7(login.created)]
        ),
    )
    bulk.load(
        TokenSession,
        "sid user refresh_jti previous_jti rotated_at auth_hash"
        " created_at last_used_at expires_at ip_address user_agent",
        (
            (
                *(
                    texts.uuid7(login.created),
                    texts.user(),
                    texts.digits(32),
                    texts.digits(32),
                    created,
                    texts.digits(64),
                ),
                *(created, created, texts.time(login.expires), "203.0.113.7", _AGENT),
            )
            for login in population()
            if not login.logged_out
            for created in [texts.time(login.created)]
        ),
    )


def _fill_simplejwt(population: Population) -> None:
    """A row for each token, and another one if its user logged out."""
    from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

    bulk.load(
        OutstandingToken,
        "id user jti token created_at expires_at",
        (
            (
                *(str(number), texts.user(), texts.digits(32), texts.digits(_TOKEN_DIGITS)),
                *(texts.time(login.created), texts.time(login.expires)),
            )
            for number, login in enumerate(population(), start=1)
        ),
    )
    bulk.load(
        BlacklistedToken,
        "token blacklisted_at",
        (
            (str(number), texts.time(login.created))
            for number, login in enumerate(population(), start=1)
            if login.logged_out
        ),
    )


def _fill_oauth(population: Population) -> None:
    """A pair of tokens each. Logging out deletes the access token and marks the refresh token.

    Live ones are all pairs, because what was logged out is at once old enough for cleartokens.
    """
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    application = Application.objects.create(
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
    )
    idle = settings.OAUTH2_PROVIDER["REFRESH_TOKEN_EXPIRE_SECONDS"]
    common = "user token token_checksum application resource created updated"

    def values(login: Login) -> tuple[str, ...]:
        token, created = texts.digits(30), texts.time(login.created)
        digest = sha256(token.encode()).hexdigest()
        return (texts.user(), token, digest, str(application.pk), "[]", created, created)

    bulk.load(
        AccessToken,
        f"id expires scope {common}",
        (
            (str(number), texts.time(login.expires - idle), "read write", *values(login))
            for number, login in enumerate(population(), start=1)
            if login.live or not login.logged_out
        ),
    )
    bulk.load(
        RefreshToken,
        f"id access_token token_family revoked {common}",
        (
            (str(number), None, texts.digits(32), texts.time(login.created), *values(login))
            if login.logged_out and not login.live
            else (str(number), str(number), texts.digits(32), None, *values(login))
            for number, login in enumerate(population(), start=1)
        ),
    )


_FILL: dict[str, Callable[[Population], None]] = {
    "tokens": _fill_ours,
    "token_blacklist": _fill_simplejwt,
    "oauth2_provider": _fill_oauth,
}
