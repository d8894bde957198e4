"""What can be wrong with a token. The HTTP layer decides how much of it a client sees."""


class TokensError(Exception):
    """The token can't be used. The docstring of each subclass is its message."""

    def __init__(self) -> None:
        super().__init__((self.__doc__ or "").strip())


class TokenMalformed(TokensError):
    """Token has an invalid claim"""

    def __init__(self, claim: str) -> None:
        self.claim = claim
        super().__init__()


class TokenRevoked(TokensError):
    """Token is blacklisted"""


# The same message as for any revoked token, so that a replay reveals nothing.


class LoginEnded(TokenRevoked):
    """Token is blacklisted"""

    # Just now, by this very use: if its transaction is rolled back, the session is there again.


class TokenReused(LoginEnded):
    """Token is blacklisted"""


class UserUnknown(TokensError):
    """User not found"""


class UserChanged(TokensError):
    """The password or the account has changed. Log in again."""


class PasswordChanged(TokensError):
    """The user's password has been changed."""


class UserInactive(TokensError):
    """No active account found for the given token."""
