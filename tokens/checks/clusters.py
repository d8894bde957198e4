"""More than one server: what is read elsewhere than it is written, and servers that lag."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import connections, router

from .. import databases as kinds
from .. import users
from ..blacklist import database
from ..models import BlacklistEntry, TokenSession

_PAGE = "docs/howto/beyond-one-server.md"


@register(Tags.security)
def check_routers(**kwargs: Any) -> list[CheckMessage]:
    """Return a Warning for what a router reads from another database than it is written to."""
    messages: list[CheckMessage] = []
    written, read = users.database(), router.db_for_read(get_user_model())
    if written != read:
        messages.append(
            checks.Warning(
                f"A router reads users from the database {read!r} and writes them to {written!r}."
                " While the one lags, people log in with the password or the account they had:"
                " the new password is refused, and so is a user who has just signed up.",
                hint=f"Let the router read {get_user_model()._meta.app_label!r} where it is"
                " written. Requests with a token read the user there in any case, unless checks"
                f" are cached. See {_PAGE}.",
                id="tokens.W044",
            )
        )
    elsewhere = [
        model._meta.label
        for model in (TokenSession, BlacklistEntry)
        if router.db_for_read(model) != database()
    ]
    if elsewhere:
        messages.append(
            checks.Warning(
                f"A router reads {' and '.join(elsewhere)} from another database than"
                f" {database()!r}, where they are written.",
                hint="The app and its admin read where they write. Your own queries get what the"
                " other database knows: let the router read tokens where it is written.",
                id="tokens.W045",
            )
        )
    return messages


@register(Tags.database)
def check_servers(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return a Warning if the blacklist's server is a standby, or one of a cluster that lags.

    ``migrate`` and ``check --database`` ask.
    """
    using = database()
    if using not in (databases or ()) or not kinds.supports(connections[using]):
        return []
    return _about_the_server(using)


def _about_the_server(using: str) -> list[CheckMessage]:
    server = kinds.of(connections[using])
    messages: list[CheckMessage] = []
    if server.is_standby():
        messages.append(
            checks.Warning(
                f"The database {using!r} leads to a standby: nobody can log in, refresh or log"
                " out, and it may not know yet what was revoked.",
                hint='Name all hosts and ask for the one that is written to: "HOST": "a,b",'
                ' "OPTIONS": {"target_session_attrs": "read-write"}.',
                id="tokens.W046",
            )
        )
    if server.answers_late():
        messages.append(
            checks.Warning(
                f"The database {using!r} is a node of Galera that answers before it knows what"
                " the others have committed (wsrep_sync_wait = 0): if it lags, it accepts tokens"
                " that were revoked.",
                hint='"OPTIONS": {"init_command": "SET SESSION wsrep_sync_wait = 1"}. If only one'
                f" node is ever used, silence this. See {_PAGE}.",
                id="tokens.W047",
            )
        )
    if server.has_unordered_writers():
        messages.append(
            checks.Warning(
                f"The database {using!r} is a member of MySQL's Group Replication in which all"
                " members write. A login may survive the end of all sessions of its user.",
                hint="Use single-primary mode, which is the default, and lead all servers of the"
                f" application to the primary. See {_PAGE}.",
                id="tokens.W048",
            )
        )
    return messages
