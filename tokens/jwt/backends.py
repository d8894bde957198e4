"""Which of a project's token backends decodes a token, and what it says of an expired one.

A token class may have a backend of its own, with keys of its own (``_token_backend``,
``get_token_backend``), and a backend may decode in its own way. The type of a token tells to which
class it belongs, but nobody may trust the type before the signature is verified. So each backend
tries, and its payload counts only if its class makes tokens of that type.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import jwt
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import (
    TokenBackendError,
    TokenBackendExpiredToken,
    TokenError,
)

from ..claims import type_of
from ..conf import simplejwt

# Python raises these when a claim has a type or size that simplejwt does not expect.
ODD_CLAIM = (TypeError, ValueError, OverflowError, OSError, RecursionError)


def of_class(token_class: Any, raw: str | bytes) -> Any:
    """Return the backend with which ``token_class`` decodes ``raw``.

    The class may look at the text of the token, for the id of a key, say.
    """
    token = token_class.__new__(token_class)
    token.token = raw
    return token.get_token_backend()


def decode_even_if_expired(backend: Any, raw: str | bytes) -> dict[str, Any]:
    """Return the payload of a token that ``backend`` accepts, or would if it had not expired.

    Raises TokenBackendError for any other token.
    """
    try:
        payload: dict[str, Any] = backend.decode(raw, verify=True)
    except TokenBackendExpiredToken:
        # PyJWT looks at the signature before ``exp``, and at issuer and audience after it.
        payload = backend.decode(raw, verify=False)
        _check_issuer_and_audience(backend, raw)
    return payload


def decode_if_signed(backend: Any, raw: str | bytes) -> dict[str, Any]:
    """Return the payload of a token that ``backend`` has signed, whatever else its claims say.

    Its signature, algorithm, issuer and audience are right. Raises TokenBackendError for any other
    token. A project's own way to decode may know more that can be wrong, so it has the last word.
    """
    if getattr(type(backend), "decode", None) is not TokenBackend.decode:
        return decode_even_if_expired(backend, raw)
    key = backend.get_verifying_key(raw)
    try:
        payload = json.loads(jwt.PyJWS().decode(raw, key, algorithms=[backend.algorithm]))
    except (jwt.InvalidTokenError, *ODD_CLAIM) as error:
        raise TokenBackendError(str(error)) from error
    if not isinstance(payload, dict):
        raise TokenBackendError("the payload is no object")
    _check_issuer_and_audience(backend, raw)
    return payload


def deciding(
    raw: str | bytes,
    classes: Iterable[Any],
    *,
    others: Any,
    decode: Callable[[Any, str | bytes], dict[str, Any]] = decode_even_if_expired,
) -> Any:
    """Return the backend of the class that makes tokens of the type of ``raw``.

    ``others`` is the backend for tokens of all other types, and for those that no backend can
    decode. Raises TokenBackendError for a token of one class that another class has signed.
    """
    owners = []
    for token_class in classes:
        with suppress(jwt.InvalidTokenError, TokenError):  # the class can't read this text
            owners.append((token_class.token_type, of_class(token_class, raw)))
    backends = list({id(backend): backend for _, backend in [*owners, (None, others)]}.values())
    if len(backends) == 1:
        return others
    is_decoded = False
    for backend in backends:
        try:
            payload = decode(backend, raw)
        except TokenBackendError:
            continue
        is_decoded = True
        if simplejwt.TOKEN_TYPE_CLAIM is None:
            return backend
        own = [one for kind, one in owners if kind == type_of(payload)] or [others]
        if any(one is backend for one in own):
            return backend
    if is_decoded:
        raise TokenBackendError("the token is signed by the backend of another type")
    return others


def _check_issuer_and_audience(backend: Any, raw: str | bytes) -> None:
    issuer, audience = getattr(backend, "issuer", None), getattr(backend, "audience", None)
    if issuer is None and audience is None:
        return
    try:
        jwt.decode(
            raw,
            issuer=issuer,
            audience=audience,
            options={
                "verify_signature": False,
                "verify_iss": issuer is not None,
                "verify_aud": audience is not None,
            },
        )
    except jwt.InvalidTokenError as error:
        raise TokenBackendError(str(error)) from error
