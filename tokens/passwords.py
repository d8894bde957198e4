"""Whether a user's password is still the one under which a session began."""

import hmac
from typing import Any

from django.contrib.auth.hashers import check_password, is_password_usable
from django.contrib.auth.models import AbstractBaseUser

from .conf import conf

# On an instance: its ``_password = None`` says nothing about what is saved next.
_SPENT = "_tokens_password_spent"


def auth_hash(user: AbstractBaseUser) -> str:
    """Return the hash that a session keeps of the hash of the user's password."""
    return user.get_session_auth_hash()


def auth_hashes(user: AbstractBaseUser) -> list[str]:
    """Return ``auth_hash``, and what it was under each of SECRET_KEY_FALLBACKS."""
    return [auth_hash(user), *user.get_session_auth_fallback_hash()]


def may_go_on(kept: str, user: AbstractBaseUser) -> bool:
    """Return whether a session that keeps this hash may go on.

    It began under the user's present password, or TOKENS_REVOKE_ON says that this does not matter.
    """
    if "password_change" not in conf.TOKENS_REVOKE_ON:
        return True
    return any(hmac.compare_digest(kept, value) for value in auth_hashes(user))


def is_same(old: str, new: str, *, saved: Any) -> bool:
    """Return whether two hashes are of the same password, as far as can be known.

    ``saved`` is the instance whose ``save`` replaced ``old`` by ``new``. No two hashes of an
    unusable password are the same, but none of them lets anybody in.
    """
    if old == new:
        return True
    if not (is_password_usable(old) and is_password_usable(new)):
        return is_password_usable(old) == is_password_usable(new)
    # set_password() leaves the raw password until save() is done, for password validators.
    raw = getattr(saved, "_password", None)
    if raw is not None:
        return check_password(raw, old) and check_password(raw, new)
    return _takes_back(saved)


def spend(saved: Any) -> None:
    """Call this after each save of a user: it ends what ``set_password`` has left behind."""
    if "_password" in vars(saved):
        setattr(saved, _SPENT, True)


def _takes_back(saved: Any) -> bool:
    """Return whether the save follows a ``check_password`` that made a better hash.

    It calls set_password() and takes back that it was a change: ``_password`` is None. A usual
    save() leaves the same None behind, which ``spend`` has marked.
    """
    return "_password" in vars(saved) and not getattr(saved, _SPENT, False)
