"""The token classes, and the one answer to whether a token may be used.

With ``api`` the only part that knows simplejwt's internals.
"""

from .accepting import Accepted, accepted, takes_type
from .any_type import (
    AnyToken,
    claims_for_logout,
    refresh_token_class,
    signed_token,
    token_for_logout,
)
from .asking import caller_asks_about, check_user, left_to_caller
from .asynchronous import accepted_at_once, decodes_at_once
from .backends import ODD_CLAIM
from .classes import AccessToken, RefreshToken, SlidingToken
from .judging import Judged, judge
from .old_models import OLD_MODELS, OldModelUsed
from .old_models import install as replace_old_models
from .patch import below, patched
from .patch import install as patch_simplejwt
from .reasons import client_reason, reason_of
from .revocable import (
    MAX_TOKEN_BYTES,
    LoginOutdated,
    RevocableToken,
    simplejwt_errors,
)

__all__ = [
    "MAX_TOKEN_BYTES",
    "ODD_CLAIM",
    "OLD_MODELS",
    "Accepted",
    "AccessToken",
    "AnyToken",
    "Judged",
    "LoginOutdated",
    "OldModelUsed",
    "RefreshToken",
    "RevocableToken",
    "SlidingToken",
    "accepted",
    "accepted_at_once",
    "below",
    "caller_asks_about",
    "check_user",
    "claims_for_logout",
    "client_reason",
    "decodes_at_once",
    "judge",
    "left_to_caller",
    "patch_simplejwt",
    "patched",
    "reason_of",
    "refresh_token_class",
    "replace_old_models",
    "signed_token",
    "simplejwt_errors",
    "takes_type",
    "token_for_logout",
]
