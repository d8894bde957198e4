"""The token classes, and the one answer to whether a token may be used.

With ``api`` the only part that knows simplejwt's internals.
"""

from .any_type import AnyToken, claims_for_logout, refresh_token_class, token_for_logout
from .asking import caller_asks_about, check_user, is_left_to_caller
from .classes import AccessToken, RefreshToken, SlidingToken
from .old_models import OLD_MODELS, OldModelUsed
from .old_models import install as replace_old_models
from .patch import below, patched
from .patch import install as patch_simplejwt
from .revocable import (
    MAX_TOKEN_BYTES,
    ODD_CLAIM,
    LoginOutdated,
    RevocableToken,
    simplejwt_errors,
)

__all__ = [
    "MAX_TOKEN_BYTES",
    "ODD_CLAIM",
    "OLD_MODELS",
    "AccessToken",
    "AnyToken",
    "LoginOutdated",
    "OldModelUsed",
    "RefreshToken",
    "RevocableToken",
    "SlidingToken",
    "below",
    "caller_asks_about",
    "check_user",
    "claims_for_logout",
    "is_left_to_caller",
    "patch_simplejwt",
    "patched",
    "refresh_token_class",
    "replace_old_models",
    "simplejwt_errors",
    "token_for_logout",
]
