"""Who asks the blacklist about a token, and whether its user may use it: one answer for all doors.

Requests, refreshes, ``token/verify/`` and the token classes ask here.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.utils import get_md5_hash_password

from .. import blacklist, sessions, users
from ..claims import Claims
from ..conf import conf
from ..exceptions import PasswordChanged, UserInactive

# About what a caller asks the blacklist itself: the text of one token, or an authentication.
# Requests set it by hand: see ``caller_asks_about``.
left_to_caller: ContextVar[object] = ContextVar("left_to_caller", default=None)


class caller_asks_about:  # noqa: N801 (callers see a function)
    """Let the caller ask the blacklist about ``subject``, in a query that it makes anyway.

    Code that verifies ``subject`` in this context does not ask; all other tokens are asked about
    as always. ``subject`` is the text of a token (this very object), or an authentication, which
    stands for the token that it finds in the request.
    """

    # Not a generator, which takes four times as long. What each request does twice sets
    # ``left_to_caller`` by hand, which takes a quarter of this.

    __slots__ = ("_before", "_subject")

    def __init__(self, subject: object) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        self._before = left_to_caller.set(self._subject)

    def __exit__(self, *_: object) -> None:
        left_to_caller.reset(self._before)


def about_access(
    claims: Claims, payload: Mapping[str, Any], *, spare_statements: bool = False
) -> AbstractBaseUser | None:
    """Ask whether a token of these claims would be accepted with a request. One statement.

    Returns the user, if the user was asked.

    The user is asked too, unless the token names none or the project's users are not in its
    database (stateless authentication). With ``spare_statements`` the user is not asked either if
    checks are cached, so that they cost no statement.

    Raises TokenRevoked, UserUnknown, UserInactive or PasswordChanged.
    """
    spared = spare_statements and conf.TOKENS_CHECK_MAX_AGE
    if claims.user_id is None or spared or not users.are_local():
        blacklist.check(claims)
        return None
    user = blacklist.user_of(claims)
    check_user(user, payload)
    return user


def about_refresh(claims: Claims, payload: Mapping[str, Any]) -> AbstractBaseUser | None:
    """Ask whether a refresh token of these claims would be refreshed. One statement, no write.

    Returns the user, if the user was asked.

    Raises TokenRevoked, UserUnknown, UserInactive or PasswordChanged.
    """
    if claims.sid is not None:
        user: AbstractBaseUser = sessions.accepting(claims).user
    else:
        sessions.check_age(claims.issued_at)
        if claims.user_id is None or not users.are_local():
            blacklist.check(claims)
            return None
        user = blacklist.user_of(claims)
        check_claim_of_password(user, payload)
    if not api_settings.USER_AUTHENTICATION_RULE(user):
        raise UserInactive
    return user


def check_user(user: AbstractBaseUser, payload: Mapping[str, Any]) -> None:
    """Raise UserInactive or PasswordChanged unless ``user`` may use a token of this payload."""
    if api_settings.CHECK_USER_IS_ACTIVE and not user.is_active:
        raise UserInactive
    if api_settings.CHECK_REVOKE_TOKEN and _claim_in(payload) != _claim_of(user):
        raise PasswordChanged


def check_claim_of_password(user: AbstractBaseUser, payload: Mapping[str, Any]) -> None:
    """Raise PasswordChanged if the payload of a refresh token names another password.

    A token from before CHECK_REVOKE_TOKEN was switched on names none.
    """
    if api_settings.CHECK_REVOKE_TOKEN and _claim_in(payload) not in (None, _claim_of(user)):
        raise PasswordChanged


def renew_claim_of_password(user: AbstractBaseUser, payload: dict[str, Any]) -> None:
    """Let a refreshed token name the password as it is now, or the next request refuses it."""
    if api_settings.CHECK_REVOKE_TOKEN:
        payload[api_settings.REVOKE_TOKEN_CLAIM] = _claim_of(user)


def _claim_in(payload: Mapping[str, Any]) -> Any:
    return payload.get(api_settings.REVOKE_TOKEN_CLAIM)


def _claim_of(user: AbstractBaseUser) -> str:
    return get_md5_hash_password(user.password)
