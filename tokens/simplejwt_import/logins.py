"""What simplejwt did not blacklist goes on: our sessions at old servers, and logins of its own."""

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model

from .. import clock, sessions, users
from ..conf import conf, simplejwt
from ..keys import key_for
from ..models import BlacklistEntry, TokenSession
from ..querysets import oldest_in_force
from .old_token import OldToken
from .report import Report


def go_on(
    tokens: list[OldToken], _attempt: int, *, using: str, start: bool, dry_run: bool
) -> Report:
    """Let sessions of ours go on with the token that an old server made for them.

    With ``start``, a login of simplejwt's becomes a session.
    """
    report = Report()
    ours = [token for token in tokens if token.sid is not None]
    for token in ours:
        continued = _hand_over(token, using=using, dry_run=dry_run)
        report.sessions_continued += continued
    if start:
        plain = [token for token in tokens if token.is_plain_refresh]
        report.sessions_started = _start(plain, using=using, dry_run=dry_run)
    return report


def _hand_over(token: OldToken, *, using: str, dry_run: bool) -> bool:
    """Make the token its session's newest, if it was made after the session's last refresh."""
    used = BlacklistEntry.objects.using(using).filter(key=token.key)
    found = TokenSession.objects.using(using).named(token.sid or "")
    found = found.filter(last_used_at__lt=token.created_at or token.issued_at)
    session = found.exclude(refresh_jti=token.jti).first()
    if session is None or used.exists():
        return False
    if dry_run:
        return True
    return sessions.hand_over(session, token.jti, expires_at=token.ends_at, using=using)


def _start(tokens: list[OldToken], *, using: str, dry_run: bool) -> int:
    """Turn these tokens, each a login, into sessions; return how many were none yet."""
    pk = get_user_model()._meta.pk
    tokens = [token for token in tokens if _may_be_accepted(token)]
    # The locks keep the users from changing, and the tokens from being refreshed, meanwhile.
    named = users.everyone(using).filter(pk__in={pk.to_python(token.user_pk) for token in tokens})
    if not dry_run:
        users.read_locked(named, "pk")
    known = {user.pk: user for user in named if getattr(user, "is_active", True)}
    logins = [
        sessions.Imported(
            sid=UUID(token.continued_by),
            user=user,
            jti=token.jti,
            created_at=token.created_at or token.issued_at,
            expires_at=token.ends_at,
        )
        for token in _not_refused(tokens, known, using=using)
        for user in [known[pk.to_python(token.user_pk)]]
    ]
    sids = {login.sid for login in logins}
    there = TokenSession.objects.using(using).filter(sid__in=sids).values_list("sid", flat=True)
    new = sids.difference(there)
    if not dry_run:
        sessions.start_imported([login for login in logins if login.sid in new], using=using)
    return len(new)


def _may_be_accepted(token: OldToken) -> bool:
    longest = conf.TOKENS_LONGEST_LIFETIME
    lives = token.ends_at - token.issued_at
    return token.ends_at >= oldest_in_force() and (longest is None or lives <= longest)


def _not_refused(tokens: list[OldToken], known: dict[Any, Any], *, using: str) -> list[OldToken]:
    """Return the tokens that name one of these users, and that no entry refuses."""
    pk = get_user_model()._meta.pk
    asked = []
    for token in tokens:
        user = known.get(pk.to_python(token.user_pk))
        user_id = str(getattr(user, simplejwt.USER_ID_FIELD, None))
        if user is not None and str(token.payload.get(simplejwt.USER_ID_CLAIM)) == user_id:
            key = key_for("user", user_id, issuer=simplejwt.ISSUER or "")
            asked.append((token, [token.key, UUID(token.continued_by), key]))
    keys = {key for _, some in asked for key in some}
    rows = BlacklistEntry.objects.using(using).filter(key__in=keys)
    refused = dict(rows.values_list("key", "issued_before"))
    always = clock.end_of_time()
    until = {key: clock.latest(moment or always, using) for key, moment in refused.items()}
    return [
        token
        for token, some in asked
        if not any(key in until and until[key] >= token.issued_at for key in some)
    ]
