"""What is to be said of a token, a session or a user, in sentences for support staff."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_variables

from .. import blacklist, sessions, users
from ..claims import Claims
from ..conf import simplejwt
from ..exceptions import PasswordChanged, UserInactive, UserUnknown
from ..jwt import Judged, judge
from ..keys import is_sid
from ..models import BlacklistEntry, TokenSession
from ..refusal import entries_refusing
from .lists import LOOKED_THROUGH, first_rows
from .moments import shown
from .search import ip_addresses, users_called

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Reason = BlacklistEntry.Reason

WHY: dict[str, "_StrPromise"] = {
    Reason.LOGOUT: gettext_lazy("the user logged out"),
    Reason.LOGOUT_ALL: gettext_lazy("the user logged out everywhere"),
    Reason.LOGOUT_OTHERS: gettext_lazy("the user logged out on all other devices"),
    Reason.ROTATED: gettext_lazy("it was exchanged for a new one"),
    Reason.REUSE: gettext_lazy("a refresh token was used twice"),
    Reason.PASSWORD_CHANGE: gettext_lazy("the password was changed"),
    Reason.DEACTIVATION: gettext_lazy("the user was deactivated"),
    Reason.DELETION: gettext_lazy("the user was deleted"),
    Reason.ID_CHANGE: gettext_lazy("the id of the user was changed"),
    Reason.LIMIT: gettext_lazy("the user logged in on too many devices"),
    Reason.ADMIN: gettext_lazy("it was ended in the admin"),
    Reason.COMMAND: gettext_lazy("it was revoked by command"),
    Reason.REVOKED: gettext_lazy("it was revoked"),
    Reason.IMPORTED: gettext_lazy("it was revoked in simplejwt"),
}

MAX_ROWS = 20
MAX_SESSIONS = 1_000


@dataclass(frozen=True)
class Verdict:
    """One answer and the rows that it is about.

    ``kind`` is a colour of ``base.label``. ``sentences`` leave out the session and the user, which
    not everybody may see. ``revocable`` has the claims of a token that is accepted now and can be
    revoked by itself.
    """

    kind: str
    sentences: list[str]
    user: AbstractBaseUser | None = None
    session: TokenSession | None = None
    entry: BlacklistEntry | None = None
    revocable: Claims | None = None


@sensitive_variables()
def about(term: str) -> list[Verdict]:
    """Return what is to be said of what somebody pasted: a token, an id, a name or an address.

    An empty list if nothing here is called that.
    """
    if may_be_token(term):
        return [_of_token(term)]
    if is_sid(term.lower()):
        return [_of_session_id(term.lower())]
    found = _of_entries(term)
    if addresses := ip_addresses(term):
        found += _of_sessions(Q(ip_address__in=addresses))
    return found + [_of_user(user) for user in users_called(term, limit=MAX_ROWS)]


def may_be_token(term: str) -> bool:
    """Return whether somebody may take ``term`` for a token: it must not be shown again."""
    return term.startswith("eyJ") or (term.count(".") == 2 and len(term) > 60)


@sensitive_variables()
def _of_token(raw: str) -> Verdict:
    judged = judge(raw)
    if judged is None:
        text = _(
            "Refused: its signature is wrong. Another project has signed it, or a part of it is"
            " missing. Nothing that it says can be trusted."
        )
        return Verdict("bad", [text])
    claims = judged.claims
    rows = TokenSession.objects.using(blacklist.database())
    session = rows.named(claims.sid).first() if claims.sid else sessions.continuing(claims)
    entry = _entry_refusing(claims) if judged.refusal else None
    if entry is not None:
        kind, sentence = "bad", _refused_since(entry)
    elif judged.refusal is not None:
        kind, sentence = "bad", _refused_without_entry(judged, session)
    elif judged.has_expired:
        kind, sentence = "quiet", _("Expired on %s, so it is refused.") % shown(judged.ends_at)
    else:
        kind, sentence = "good", _("Accepted until %s.") % shown(judged.ends_at)
    single = kind == "good" and not (judged.is_refresh and claims.sid)
    return Verdict(
        kind,
        [sentence, _what_it_is(judged, session)],
        user=_user_of(claims, session),
        session=session,
        entry=entry,
        revocable=claims if single else None,
    )


def _entry_refusing(claims: Claims) -> BlacklistEntry | None:
    """Return the oldest entry that refuses a token with these claims."""
    found = entries_refusing(claims, using=blacklist.database())
    return min(found, key=lambda entry: entry.created_at, default=None)


def _refused_since(entry: BlacklistEntry) -> str:
    moment = entry.issued_before or entry.created_at
    values = {"moment": shown(moment), "why": _why(entry)}
    return _("Refused since %(moment)s: %(why)s.") % values


def _why(entry: BlacklistEntry) -> str:
    return str(WHY.get(entry.reason, entry.reason))


def _refused_without_entry(judged: Judged, session: TokenSession | None) -> str:
    match judged.refusal:
        case UserUnknown():
            return _("Refused: its user does not exist any more.")
        case UserInactive():
            return _("Refused: its user is not active.")
        case PasswordChanged():
            return _("Refused: the password was changed after it was issued.")
    if judged.claims.lives_too_long:
        return _("Refused: it belongs to no session and lives longer than such a token may.")
    if judged.claims.sid is None:
        return _("Refused: the blacklist of simplejwt holds it.")
    if session is None:
        return _("Refused: its session is over.")
    if session.refresh_jti != judged.claims.jti:
        return _("Refused: it was used before, and its session goes on with a newer one.")
    return _("Refused: the password was changed after the login.")


def _what_it_is(judged: Judged, session: TokenSession | None) -> str:
    values = {"type": judged.type, "moment": shown(judged.claims.issued_at)}
    if judged.claims.sid is None and session is None:
        return _("Token of type “%(type)s” without a session, issued on %(moment)s.") % values
    return _("Token of type “%(type)s”, issued on %(moment)s.") % values


def _user_of(claims: Claims, session: TokenSession | None) -> AbstractBaseUser | None:
    pk = session.user_id if session else users.pk_of(claims)
    return None if pk is None else _user(pk)


def _user(pk: Any) -> AbstractBaseUser | None:
    found: AbstractBaseUser | None = users.everyone(users.database()).filter(pk=pk).first()
    return found


def _of_session_id(sid: str) -> Verdict:
    using = blacklist.database()
    session = TokenSession.objects.using(using).named(sid).first()
    entry = BlacklistEntry.objects.using(using).filter(key=sid).first()
    if entry is not None:
        return Verdict(
            "bad",
            [_refused_since(entry), _("So are all tokens of this session.")],
            user=_user(entry.user_id),
            entry=entry,
        )
    if session is not None:
        return _of_session(session)
    text = _("No session has this id now. It ended so long ago that no token of it is left.")
    return Verdict("quiet", [text])


def _of_session(session: TokenSession) -> Verdict:
    if session.is_live:
        kind, text = "good", _("Accepted: a session that may go on until %s.")
    else:
        kind, text = "quiet", _("A session that was over on %s.")
    return Verdict(
        kind, [text % shown(session.expires_at)], user=_user(session.user_id), session=session
    )


def _of_sessions(condition: Q) -> list[Verdict]:
    """Return what is to be said of the newest LOOKED_THROUGH sessions, of those that match."""
    rows = TokenSession.objects.using(blacklist.database())
    if (newest := first_rows(rows, "-sid", LOOKED_THROUGH)) is not None:
        rows = rows.filter(newest)
    found = rows.filter(condition).order_by("-sid")[:MAX_ROWS]
    return [_of_session(session) for session in found]


def _of_entries(term: str) -> list[Verdict]:
    """Return what is to be said of the token or session with the id ``term``."""
    entries = BlacklistEntry.objects.using(blacklist.database())
    found = entries.about(term, issuer=simplejwt.ISSUER or "")
    return [
        Verdict("bad", [_refused_since(entry)], user=_user(entry.user_id), entry=entry)
        for entry in found
        if entry.scope == BlacklistEntry.Scope.TOKEN
    ]


def _of_user(user: AbstractBaseUser) -> Verdict:
    using, pk = blacklist.database(), user.pk
    number = TokenSession.objects.using(using).of_user(pk).live()[: MAX_SESSIONS + 1].count()
    text = ngettext("%d session may go on.", "%d sessions may go on.", number) % number
    if number > MAX_SESSIONS:
        text = _("More than %d sessions may go on.") % MAX_SESSIONS
    sentences = [text if number else _("No session may go on: the user is logged out everywhere.")]
    if not user.is_active:
        sentences.insert(0, _("The user is not active, so every token is refused."))
    name = str(getattr(user, simplejwt.USER_ID_FIELD))
    entries = BlacklistEntry.objects.using(using).about(name, issuer=simplejwt.ISSUER or "")
    entry = next((one for one in entries if one.scope == BlacklistEntry.Scope.USER), None)
    if entry is not None and entry.issued_before is not None:
        text = _("Tokens without a session that were issued until %(moment)s are refused: %(why)s.")
        sentences.append(text % {"moment": shown(entry.issued_before), "why": _why(entry)})
    kind = "good" if number and user.is_active else "quiet"
    return Verdict(kind, sentences, user=user, entry=entry)
