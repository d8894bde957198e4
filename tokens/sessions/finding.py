"""Find the session of a refresh token. Nothing here writes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections

from .. import blacklist, databases, old_tables, passwords, retry, users
from ..claims import Claims
from ..exceptions import ClientReason, TokenRevoked
from ..keys import adopted_sid, session_uuid
from ..models import TokenSession
from ..querysets import SessionQuerySet
from ..refusal import Refused
from . import ages, inherited


def accepting(claims: Claims) -> TokenSession:
    """Return the session in which a refresh token with a ``sid`` may be used, with its user.

    One statement, no write. Without the row of its session the token is refused, so it fails closed
    even if the blacklist were empty. Raises TokenRevoked.
    """
    session = _one(
        lambda: inherited.accepting(_rows(), claims), claims, Refused(claims, is_refresh=True)
    )
    if not passwords.may_go_on(session.auth_hash, session.user):
        raise TokenRevoked(ClientReason.PASSWORD_CHANGED)
    ages.check_age(ages.login_of(session))
    return session


def adopted(claims: Claims) -> Claims:
    """Return the claims of a token without ``sid`` as those of the session that continues it."""
    sid = adopted_sid(claims.jti, issuer=claims.issuer, issued_at=claims.issued_at)
    return replace(claims, sid=sid)


@retry.lost_races
def continuing(claims: Claims) -> TokenSession | None:
    """Return the session that continues a token without ``sid``, or None if there is none."""
    return inherited.find(claims, using=blacklist.database())


def find(claims: Claims, *, used_up: bool = False) -> TokenSession:
    """Return the live session of a refresh token, with its user: one statement.

    ``used_up`` overlooks that the token itself is refused, because it has been used.

    Raises TokenRevoked when the session has ended or is too old, its user is gone, an entry refuses
    the token, or the token names another user than the session.
    """
    question = Refused(claims, is_refresh=True, used_up=used_up)
    name = claims.sid or ""
    try:
        session = _one(lambda: _rows().named(name), claims, question, sid=session_uuid(name))
    except TokenRevoked:
        if used_up or not inherited.was_used_up(claims, using=blacklist.database()):
            raise
        return find(claims, used_up=True)
    ages.check_age(ages.login_of(session))
    return session


def _one(
    rows: Callable[[], SessionQuerySet],
    claims: Claims,
    refused: Refused,
    *,
    sid: UUID | None = None,
) -> TokenSession:
    """Return the one session of ``rows``, with its user; raise TokenRevoked if there is none.

    ``sid`` is its id, if that is all that ``rows`` depends on. A user that the default manager
    hides is nobody.
    """
    using = blacklist.database()
    is_joined = users.are_joined(using)
    visible = None if is_joined else users.visible_in(using)

    def with_users() -> SessionQuerySet:
        found = rows().select_related("user")
        return found if visible is None else found.filter(visible)

    ask = partial(_first, with_users, refused, sid if is_joined else None, using=using)
    found = ask()
    if found is None and databases.catch_up(connections[using]):
        found = ask()
    if found is None or found[1] or not users.is_named(found[0].user, claims):
        raise TokenRevoked
    session: TokenSession = found[0]
    if visible is None and not is_joined and not users.is_visible(session.user_id):
        raise TokenRevoked
    return session


@retry.lost_races
def _first(
    rows: Callable[[], SessionQuerySet], refused: Refused, sid: UUID | None, *, using: str
) -> tuple[Any, bool] | None:
    """Return the first of ``rows`` and whether its token is refused, or None."""

    def ask() -> tuple[Any, bool] | None:
        known = sid and databases.prepared(
            _first,
            lambda: databases.annotated(rows(), databases.HERE),
            [(TokenSession._meta.pk, sid)],
            using=using,
        )
        if known:
            return next(iter(known(refused)), None)
        session = next(iter(databases.annotated(rows(), refused)), None)
        return session and (session, databases.answer_of(session))

    return old_tables.asking(ask, using=using)


def _rows() -> SessionQuerySet:
    return TokenSession.objects.using(blacklist.database())
