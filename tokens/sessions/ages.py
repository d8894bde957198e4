"""How long refresh tokens live: as long as their login asked for, and TOKENS_SESSION_MAX_AGE.

Both follow OWASP ASVS 5.0: the lifetime of a refresh token is the limit of inactivity (7.3.1), and
the setting is the absolute one (7.3.2).
"""

from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS

from .. import clock
from ..conf import conf
from ..exceptions import LoginTooOld
from ..models import TokenSession
from ..querysets import oldest_login


def latest_end(login: datetime) -> datetime:
    """Return the latest moment at which a refresh token of this ``login`` may expire."""
    limit = conf.TOKENS_SESSION_MAX_AGE
    end = clock.end_of_time()
    return login + limit if limit is not None and limit < end - login else end


def check_age(login: datetime) -> None:
    """Raise LoginTooOld if no token may be refreshed any more that belongs to this ``login``."""
    oldest = oldest_login()
    if oldest is not None and login <= oldest:
        raise LoginTooOld


def login_of(session: TokenSession) -> datetime:
    """Return when the session began."""
    using = session._state.db or DEFAULT_DB_ALIAS
    return clock.recorded(session.created_at, using, by=clock.now())


def lifetime_given(lives: timedelta, default: timedelta) -> timedelta | None:
    """Return how long a token ``lives`` unless that is the ``default``, which may change.

    Tokens count whole seconds.
    """
    return None if abs(lives - default) < timedelta(seconds=1) else lives
