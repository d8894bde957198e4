"""What can be wrong with a token. The HTTP layer decides how much of it a client sees."""

from enum import StrEnum


class ClientReason(StrEnum):
    """Why a token is refused, in a word that programs read. It is never translated.

    Only the holder of a token that we have signed may hear it.
    """

    EXPIRED = "expired"
    REVOKED = "revoked"
    REUSED = "reused"
    ENDED_BY_LIMIT = "ended_by_limit"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    MALFORMED = "malformed"


class TokensError(Exception):
    """The token can't be used. The docstring of each subclass is its message."""

    # What the holder of the token may hear, if that is known without asking the database.
    client_reason: ClientReason | None = None

    def __init__(self) -> None:
        super().__init__((self.__doc__ or "").strip())


class TokenMalformed(TokensError):
    """Token has an invalid claim"""

    client_reason = ClientReason.MALFORMED

    def __init__(self, claim: str) -> None:
        self.claim = claim
        super().__init__()


class TokenExpired(TokensError):
    """Token is expired"""

    client_reason = ClientReason.EXPIRED


class TokenRevoked(TokensError):
    """Token is blacklisted"""

    def __init__(self, client_reason: ClientReason | None = None) -> None:
        super().__init__()
        if client_reason is not None:
            self.client_reason = client_reason


# The same message as for any revoked token: ``client_reason`` tells them apart.


class LoginEnded(TokenRevoked):
    """Token is blacklisted"""

    # Just now, by this very use: if its transaction is rolled back, the session is there again.


class LoginTooOld(TokenRevoked):
    """Token is expired"""

    client_reason = ClientReason.EXPIRED

    # TOKENS_SESSION_MAX_AGE has passed since the login.


class TokenReused(LoginEnded):
    """Token is blacklisted"""

    client_reason = ClientReason.REUSED


class UserUnknown(TokensError):
    """User not found"""

    client_reason = ClientReason.REVOKED


class UserChanged(TokensError):
    """The password or the account has changed. Log in again."""


class PasswordChanged(TokensError):
    """The user's password has been changed."""

    client_reason = ClientReason.PASSWORD_CHANGED


class UserInactive(TokensError):
    """No active account found for the given token."""

    client_reason = ClientReason.REVOKED
