"""What many projects do: ask Redis whether it knows the token, or its session."""

from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.tokens import Token

from benchmarks import redis_server

_redis = redis_server.client()


class RedisAuthentication(JWTStatelessUserAuthentication):
    """simplejwt's stateless authentication, and one EXISTS for the jti and the sid."""

    def get_validated_token(self, raw_token: bytes) -> Token:
        token = super().get_validated_token(raw_token)
        if _redis.exists(f"bench:revoked:{token['jti']}", f"bench:revoked:{token['sid']}"):
            raise InvalidToken
        return token
