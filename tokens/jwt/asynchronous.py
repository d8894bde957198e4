"""What the token classes do in ``async def``: the prefix is Django's, the answers are the same.

Statements run where Django runs those of asynchronous code (``sync_to_async``), with the caller's
context variables. The event loop itself only decodes tokens and looks at snapshots, if nothing of a
project's may wait for something meanwhile.
"""

from typing import Any, Self

from asgiref.sync import sync_to_async
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError

from .. import blacklist, snapshot
from ..claims import Claims
from ..conf import conf
from ..exceptions import TokenRevoked
from ..models import BlacklistEntry
from . import asking

# Whose code decides how a token is verified.
_VERIFYING = (
    *("__init__", "_ask", "check_blacklist", "check_exp", "get_token_backend"),
    *("token_backend", "verify", "verify_token_type"),
)


class AsyncToken:
    """The methods with the prefix ``a`` of all our token classes."""

    @classmethod
    @sensitive_variables()
    async def averify(cls, token: str | bytes) -> Self:
        """Return the token with this text, verified as constructing it does.

        Raises simplejwt's TokenError if that does. Takes no thread if checks are cached, and the
        snapshot knows about this token.
        """
        if conf.TOKENS_CHECK_MAX_AGE and decodes_at_once(cls):
            kind: Any = cls
            with asking.caller_asks_about(token):
                made: Self = kind(token)
            await made.acheck_blacklist()
            return made

        @sensitive_variables()
        def verified() -> Any:
            kind: Any = cls
            return kind(token)

        # Without arguments, which error reports would show.
        found: Self = await sync_to_async(verified)()
        return found

    async def acheck_blacklist(self) -> None:
        """Do what ``check_blacklist`` does: raise TokenError if the token is refused."""
        token: Any = self
        if not (is_asked_plainly(type(self)) and accepted_at_once(token.claims)):
            await sync_to_async(token.check_blacklist)()

    async def ablacklist(
        self, *, reason: str = blacklist.Reason.LOGOUT
    ) -> tuple[BlacklistEntry, bool]:
        """Do what ``blacklist`` does: revoke the token, or end its whole login."""
        token: Any = self
        revoked: tuple[BlacklistEntry, bool] = await sync_to_async(token.blacklist)(reason=reason)
        return revoked

    @classmethod
    async def afor_user(cls, user: Any, **options: Any) -> Self:
        """Do what ``for_user`` does: return a token that names ``user``, or of a new session.

        ``options`` are those of ``for_user``: ``lifetime`` for a refresh token.
        """
        kind: Any = cls
        made: Self = await sync_to_async(kind.for_user)(user, **options)
        return made

    async def aencode(self) -> str:
        """Return the token's text, as ``str`` does.

        ``str`` takes a statement if a refresh token got another end after ``for_user``.
        """
        return await sync_to_async(str)(self)


def accepted_at_once(claims: Claims) -> bool:
    """Return whether a snapshot accepts an access token of these claims; False: ask elsewhere.

    Raises TokenError if the snapshot refuses it. Waits for nothing.
    """
    known = snapshot.refuses_at_once(claims, using=blacklist.database())
    if known:
        refusal = TokenRevoked()
        raise TokenError(_(str(refusal))) from refusal
    return known is False


def is_asked_plainly(kind: Any) -> bool:
    """Return whether ``check_blacklist`` asks nothing but a snapshot, if that knows the answer."""
    return all(_is_ours(kind, name) for name in ("_ask", "check_blacklist"))


def decodes_at_once(kind: Any) -> bool:
    """Return whether constructing such a token waits for nothing but the blacklist.

    It may if the project has changed how a token is verified, or keys come from another server.
    """
    if not all(_is_ours(kind, name) for name in _VERIFYING) or kind._token_backend is not None:
        return False
    from rest_framework_simplejwt.state import token_backend

    return type(token_backend) is TokenBackend and token_backend.jwks_client is None


def _is_ours(kind: Any, name: str) -> bool:
    from .revocable import RevocableToken  # which needs this module

    return issubclass(kind, RevocableToken) and getattr(kind, name) is getattr(RevocableToken, name)
