"""The ways to authenticate a request that are compared, from asking nothing to asking a cache.

Only names, because the processes that set up no Django need them too.
"""

from dataclasses import dataclass
from enum import Enum

_SIMPLEJWT = "rest_framework_simplejwt.authentication"
_OURS = "tokens.api.authentication"
_PLAIN_TOKEN, _OUR_TOKEN = "benchmarks.plain_token.AccessToken", "tokens.jwt.AccessToken"
_MAX_AGE = 1.0


@dataclass(frozen=True)
class Way:
    """An authentication class with its settings; ``without`` names the way that asks nothing."""

    name: str
    authentication: str
    token: str
    max_age: float = 0.0
    without: str = ""


PLAIN = Way("simplejwt, no check", f"{_SIMPLEJWT}.JWTAuthentication", _PLAIN_TOKEN)
STRICT = Way("strict", f"{_OURS}.JWTAuthentication", _OUR_TOKEN, without=PLAIN.name)
CACHED = Way("cached", STRICT.authentication, _OUR_TOKEN, _MAX_AGE, PLAIN.name)
STATELESS = Way(
    "simplejwt stateless, no check", f"{_SIMPLEJWT}.JWTStatelessUserAuthentication", _PLAIN_TOKEN
)
STATELESS_STRICT = Way(
    "stateless, strict",
    f"{_OURS}.JWTStatelessUserAuthentication",
    _OUR_TOKEN,
    without=STATELESS.name,
)
STATELESS_CACHED = Way(
    "stateless, cached",
    STATELESS_STRICT.authentication,
    _OUR_TOKEN,
    _MAX_AGE,
    STATELESS.name,
)
REDIS = Way(
    "simplejwt stateless, Redis",
    "benchmarks.redis_lookup.RedisAuthentication",
    _PLAIN_TOKEN,
    without=STATELESS.name,
)

WAYS = {
    way.name: way
    for way in (PLAIN, STRICT, CACHED, STATELESS, STATELESS_STRICT, STATELESS_CACHED, REDIS)
}


class Compared(Enum):
    """What a check must not cost more than so many microseconds of."""

    TOKEN = "a token class, cached"
    STATELESS_REQUEST = "JWTStatelessUserAuthentication, cached"
    REQUEST = "JWTAuthentication, strict"

    @property
    def alone(self) -> bool:
        """Whether the token class is called, and no authentication."""
        return self is Compared.TOKEN

    @property
    def theirs(self) -> Way:
        return PLAIN if self is Compared.REQUEST else STATELESS

    @property
    def ours(self) -> Way:
        return STRICT if self is Compared.REQUEST else STATELESS_CACHED

    @property
    def most(self) -> float:
        """The goal."""
        return {Compared.TOKEN: 8.0, Compared.STATELESS_REQUEST: 10.0, Compared.REQUEST: 25.0}[self]
