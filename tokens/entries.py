"""What a blacklist entry says: its key, its end, and its subject as text for people to read.

Nothing here writes: ``blacklist`` does.
"""

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, CharField, DateTimeField, F, Q, Value, When
from django.db.models.functions import Cast, Concat, Greatest, Substr

from . import clock, origin
from .claims import Claims
from .conf import conf, simplejwt
from .keys import key_for
from .models import BlacklistEntry, TokenSession

Scope = BlacklistEntry.Scope

# What ``readable`` writes; anything else after a backslash is left alone.
_ESCAPE = re.compile(r"\\(?:[nrt\\]|x[0-9a-f]{2}|u[0-9a-f]{4}|U000[0-9a-f]{5}|U0010[0-9a-f]{4})")

# What an entry keeps of a session, and what it leaves out of an act that came from there.
OF_LAST_ACT = ("reason", "by", "note", "by_ip_address", "by_user_agent")
DEVICE = ("ip_address", "user_agent", "device_name")
_FROM = ("ip_address", "user_agent")
_FROM_THERE: dict[str, Any] = {"by_ip_address": None, "by_user_agent": ""}

# The parts of a UUID's text in its 32 digits: where each begins, and its length.
_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


def of_token(claims: Claims, *, user_pk: Any, reason: str) -> BlacklistEntry:
    """Return the entry, not saved, that refuses the one token with these claims."""
    return BlacklistEntry(
        key=key_for(Scope.TOKEN, claims.jti, issuer=claims.issuer),
        scope=Scope.TOKEN,
        subject=readable(claims.jti),
        user_id=user_pk,
        reason=reason,
        expires_at=claims.expires_at,
        **origin.doing().columns(),
    )


def of_session(
    sid: UUID,
    *,
    user_pk: Any,
    reason: str,
    expires_at: datetime,
    row: TokenSession | None = None,
) -> BlacklistEntry:
    """Return the entry, not saved, that refuses every token of the session ``sid``.

    ``row`` is the session's, if there is one. The entry keeps which device it was on.
    """
    act = origin.doing().columns()
    if row and all(act[f"by_{name}"] == getattr(row, name) for name in _FROM):
        act.update(_FROM_THERE)
    return BlacklistEntry(
        key=sid,
        scope=Scope.SESSION,
        subject=str(sid),
        user_id=user_pk,
        reason=reason,
        expires_at=expires_at,
        **({name: getattr(row, name) for name in DEVICE} if row else {}),
        **act,
    )


def of_session_rows(
    connection: BaseDatabaseWrapper, *, reason: str, now: datetime, created_at: datetime | None
) -> dict[str, Any]:
    """Return the columns of entries for whole sessions, as expressions over a session's row.

    An entry lasts as long as the newest refresh token, and an access token made ``now``. If the
    session was imported and not refreshed since, it lasts as long as any token of simplejwt's may
    (``may_outlive``). If ``created_at`` is None, the database says when it inserts them.
    """
    until = now + simplejwt.ACCESS_TOKEN_LIFETIME
    longest = Value(end_for_user(now), DateTimeField())
    imported = When(previous_jti=F("refresh_jti"), then=longest)
    return {
        "key": F("sid"),
        "scope": Value(Scope.SESSION.value),
        "subject": _text_of_uuids("sid", connection),
        "user_id": F("user_id"),
        "reason": Value(reason),
        "created_at": (Value(created_at, DateTimeField()) if created_at else clock.DatabaseNow()),
        "expires_at": Greatest(
            "expires_at",
            Value(until, DateTimeField()),
            Case(imported, default=F("expires_at"), output_field=DateTimeField()),
        ),
        **{name: F(name) for name in DEVICE},
        **_act_on_rows(),
    }


def _act_on_rows() -> dict[str, Any]:
    """Return the columns that say who acts, as expressions over a session's row."""
    act = origin.doing().columns()
    field_of: Any = BlacklistEntry._meta.get_field
    columns: dict[str, Any] = {name: Value(act[name], field_of(name)) for name in act}
    if all(act[name] == nothing for name, nothing in _FROM_THERE.items()):
        return columns
    from_there = Q(**{name: act[f"by_{name}"] for name in _FROM})
    for name, nothing in _FROM_THERE.items():
        field = field_of(name)
        left_out = When(from_there, then=Value(nothing, field))
        # PostgreSQL takes no text for an address where it has to find out what it is.
        columns[name] = Cast(Case(left_out, default=columns[name], output_field=field), field)
    return columns


def may_outlive(session: TokenSession) -> bool:
    """Return whether a refresh token of the session may live longer than its row says.

    simplejwt stores a token before the project gives it a longer life ("remember me"). The import
    marks a session that it makes of one: its refresh token is its previous one, too.
    """
    return session.previous_jti == session.refresh_jti


def of_user(pk: Any, user_id: str, *, reason: str, before: datetime) -> BlacklistEntry:
    """Return the entry, not saved, that refuses a user's tokens without ``sid`` from ``before``.

    Tokens may name users by an address. The entry outlives the user, so it shows the primary key.
    """
    return BlacklistEntry(
        key=key_for(Scope.USER, user_id, issuer=simplejwt.ISSUER or ""),
        scope=Scope.USER,
        subject=readable(str(pk)),
        user_id=pk,
        issued_before=before,
        reason=reason,
        expires_at=end_for_user(before),
        **origin.doing().columns(),
    )


def extend(known: BlacklistEntry, entry: BlacklistEntry, *, using: str) -> list[str]:
    """Give ``known``, read from ``using``, the later moments of ``entry``; return the fields.

    An entry for a user also says who revoked last, and why: most of the tokens that it refuses by
    then, and that have not expired, were issued since it was written first.
    """
    later = [
        name
        for name in ("expires_at", "issued_before")
        if (new := getattr(entry, name)) is not None
        and new > clock.latest(getattr(known, name), using)
    ]
    if "issued_before" in later:
        later += OF_LAST_ACT
    for name in later:
        setattr(known, name, getattr(entry, name))
    return later


def end_for_user(before: datetime) -> datetime:
    """Return when the last of a user's tokens without ``sid`` issued until ``before`` expires."""
    longest = conf.TOKENS_LONGEST_LIFETIME
    if longest is None or clock.end_of_time() - before < longest:
        return clock.end_of_time()
    return before + longest


def subject_shown_as(text: str) -> str:
    """Return the jti or sid that entries show as ``text``: unescaped, as far as it is escaped."""
    return _ESCAPE.sub(lambda match: match[0].encode().decode("unicode_escape"), text)


def readable(subject: str) -> str:
    """Return any text as printable ASCII that fits the column; a usual id comes out unchanged."""
    return subject.encode("unicode_escape").decode("ascii")[:255]


def _text_of_uuids(column: str, connection: BaseDatabaseWrapper) -> Any:
    """Return the expression for the text of the UUIDs in ``column``, with hyphens."""
    text: Any = Cast(column, CharField())
    if connection.features.has_native_uuid_field:
        return text
    first, *others = (Substr(text, start, length) for start, length in _UUID_PARTS)
    return Concat(first, *(part for other in others for part in (Value("-"), other)))
