"""Find the session of a refresh token. Nothing here writes."""

from dataclasses import replace
from typing import Any, cast

from .. import blacklist, old_tables, passwords, users
from ..claims import Claims
from ..exceptions import TokenRevoked
from ..keys import adopted_sid
from ..models import TokenSession
from ..querysets import SessionQuerySet
from ..refusal import Refused
from . import inherited


def accepting(claims: Claims) -> TokenSession:
    """Return the session in which a refresh token with a ``sid`` may be used, with its user.

    One statement, no write. Without the row of its session the token is refused, so it fails closed
    even if the blacklist were empty. Raises TokenRevoked.
    """
    rows = inherited.accepting(_rows(), claims)
    session = _one(rows, claims, Refused(claims, is_refresh=True))
    if not passwords.may_go_on(session.auth_hash, session.user):
        raise TokenRevoked
    return session


def adopted(claims: Claims) -> Claims:
    """Return the claims of a token without ``sid`` as those of the session that continues it."""
    sid = adopted_sid(claims.jti, issuer=claims.issuer, issued_at=claims.issued_at)
    return replace(claims, sid=sid)


def continuing(claims: Claims) -> TokenSession | None:
    """Return the session that continues a token without ``sid``, or None if there is none."""
    return inherited.find(claims, using=blacklist.database())


def find(claims: Claims, *, used_up: bool = False) -> TokenSession:
    """Return the live session of a refresh token, with its user: one statement.

    ``used_up`` overlooks that the token itself is refused, because it has been used.

    Raises TokenRevoked when the session has ended, its user is gone, an entry refuses the token,
    or the token names another user than the session.
    """
    question = Refused(claims, is_refresh=True, used_up=used_up)
    try:
        return _one(_rows().named(claims.sid or ""), claims, question)
    except TokenRevoked:
        if used_up or not inherited.was_used_up(claims, using=blacklist.database()):
            raise
    return find(claims, used_up=True)


def _one(rows: SessionQuerySet, claims: Claims, refused: Refused) -> TokenSession:
    """Return the one session of ``rows``, with its user; raise TokenRevoked if there is none.

    A user that the default manager hides is nobody.
    """
    rows = rows.select_related("user").annotate(refused_token=refused)
    visible = users.visible_in(rows.db)
    if visible is not None:
        rows = rows.filter(visible)
    session: Any = old_tables.asking(lambda: next(iter(rows.all()), None), using=rows.db)
    if session is None or session.refused_token or not users.is_named(session.user, claims):
        raise TokenRevoked
    if visible is None and not users.is_visible(session.user_id):
        raise TokenRevoked
    return cast(TokenSession, session)


def _rows() -> SessionQuerySet:
    return TokenSession.objects.using(blacklist.database())
