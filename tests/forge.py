"""Tokens that nobody should have made."""

import json
from typing import Any

import jwt
from django.conf import settings

from tokens import clock
from tokens.conf import simplejwt

# The tests speak of "jti" and "user_id", however the claims are named.
JTI, USER_ID = simplejwt.JTI_CLAIM, simplejwt.USER_ID_CLAIM
_NAMES = {"jti": JTI, "user_id": USER_ID}


def sign(payload: Any, *, key: str | None = None, algorithm: str = "HS256") -> str:
    """Return any JSON as a token, signed with the project's key unless another is given."""
    data = json.dumps(payload).encode()
    secret = None if algorithm == "none" else key or settings.SECRET_KEY
    return jwt.PyJWS().encode(data, secret, algorithm=algorithm, headers={"typ": "JWT"})


def signed(**claims: Any) -> str:
    """Return a well-signed access token with any claims; ``...`` leaves one out."""
    now = clock.to_epoch(clock.now())
    payload = {
        "token_type": "access",
        "exp": now + 300,
        "iat": now,
        "jti": "a-jti",
        "user_id": "1",
    } | claims
    if simplejwt.ISSUER:
        payload = {"iss": simplejwt.ISSUER, "aud": settings.SIMPLE_JWT["AUDIENCE"]} | payload
    return sign(
        {_NAMES.get(name, name): value for name, value in payload.items() if value is not ...}
    )
