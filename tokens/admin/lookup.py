"""The page "Look up a token": paste what you have, and read whether it is refused, and why.

What is pasted travels in the body of a POST request only. It is not stored, logged or shown again.
"""

from datetime import datetime
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import blacklist, users
from ..claims import Claims
from ..log import logger
from ..models import BlacklistEntry, Lookup, TokenSession
from . import acts, ending, verdict
from .base import BREADCRUMBS_IN_LIST, ReadOnlyAdmin, unsupported
from .history import acting_for, record, to_user
from .moments import shown
from .pages import url, user_url
from .verdict import Verdict

_SALT = "tokens.admin.lookup"
_ACT_WITHIN = 3600  # seconds after the answer was shown


@admin.register(Lookup)
class LookupAdmin(ReadOnlyAdmin):
    """One page instead of a list. Who may view blacklist entries may ask."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("tokens.view_blacklistentry")

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.lookup_view)
        return [path("", view, name="tokens_lookup_changelist")]

    @sensitive_variables()
    def lookup_view(self, request: HttpRequest) -> HttpResponse:
        # Not earlier: it takes as long to import as Django does, and commands show no pages.
        from ..api.hiding import hide_secrets

        hide_secrets(request)
        if not self.has_view_permission(request):
            raise PermissionDenied
        if (answer := unsupported()) is not None:
            return answer
        if "revoke" in request.POST:
            return self._revoke(request, request.POST["revoke"])
        term = request.POST.get("q", "").strip()
        found = verdict.about(term) if term else []
        answers = [self._answer(request, one) for one in found]
        # A token is not shown again; anything else can be corrected.
        again = "" if verdict.may_be_token(term) else term
        context = {
            **self.admin_site.each_context(request),
            "title": _("Look up a token"),
            "subtitle": None,
            "opts": self.opts,
            "breadcrumbs_in_list": BREADCRUMBS_IN_LIST,
            "media": self.media,
            "term": again,
            "asked": bool(term),
            "answers": answers,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/tokens/lookup.html", context)

    def _answer(self, request: HttpRequest, found: Verdict) -> dict[str, Any]:
        """Return what the page shows of a verdict, as far as this person may see it."""
        may, site = request.user.has_perm, self.admin_site
        session = found.session if may("tokens.view_tokensession") else None
        return {
            "kind": found.kind,
            "sentences": found.sentences,
            "user": found.user,
            "user_url": user_url(request, site, found.user.pk) if found.user else None,
            "end_url": url(site, TokenSession, "end", session.pk)
            if session and session.is_live and may(ending.RIGHT)
            else None,
            "session": session,
            "device": session and acts.device(session),
            "session_url": url(site, TokenSession, "change", session.pk) if session else None,
            "entry": found.entry,
            "facts": acts.facts(found.entry) if found.entry else [],
            "entry_url": url(site, BlacklistEntry, "change", found.entry.pk)
            if found.entry
            else None,
            "revoke": _signed(found) if may(ending.RIGHT) else None,
        }

    def _revoke(self, request: HttpRequest, signed: str) -> HttpResponse:
        """Refuse the one token whose claims the page before has signed, and record who did it."""
        if not request.user.has_perm(ending.RIGHT):
            raise PermissionDenied
        try:
            claims = _unsigned(signed)
        except signing.BadSignature:
            text = _("Nothing was revoked: the page was too old. Look the token up again.")
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.path)
        by, pk = cast(AbstractBaseUser, request.user), users.pk_of(claims)
        logger.info(
            "user %s (%r) revokes the token %r in the admin",
            by.pk,
            by.get_username(),
            claims.jti,
            extra={"event": "token_revoked_in_admin", "by": str(by.pk), "jti": claims.jti},
        )
        with acting_for(request):
            entry, _new = blacklist.revoke_token(claims, reason=BlacklistEntry.Reason.ADMIN)
        if pk is not None:
            message = _("Revoked the token %s.") % entry.subject
            record(request, [to_user(pk, claims.user_id or "", message)])
        text = _("The token %(jti)s is refused from now on, until it expires on %(moment)s.")
        values = {"jti": entry.subject, "moment": shown(entry.expires_at)}
        self.message_user(request, text % values, messages.SUCCESS)
        return HttpResponseRedirect(request.path)


def _signed(found: Verdict) -> str | None:
    """Return the claims that ``revoke_token`` needs, signed. They are no token."""
    claims = found.revocable
    if claims is None:
        return None
    moments = [claims.issued_at.isoformat(), claims.expires_at.isoformat()]
    return signing.dumps([claims.jti, claims.issuer, claims.user_id, *moments], salt=_SALT)


def _unsigned(signed: str) -> Claims:
    """Return the claims of ``_signed``. Raises BadSignature."""
    jti, issuer, user_id, *moments = signing.loads(signed, salt=_SALT, max_age=_ACT_WITHIN)
    issued_at, expires_at = map(datetime.fromisoformat, moments)
    return Claims(jti, None, user_id, issuer, issued_at, expires_at)
