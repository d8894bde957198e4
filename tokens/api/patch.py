"""simplejwt's own serializers, used by other packages and by subclasses, become ours."""

from functools import cache
from typing import Any

from rest_framework_simplejwt import serializers as base

from ..conf import conf
from ..jwt import RevocableToken, below
from ..jwt import patched as patched_token
from . import serializers as ours

_OURS: dict[Any, Any] = {
    base.TokenObtainSerializer: ours.TokenObtainSerializer,
    base.TokenObtainPairSerializer: ours.TokenObtainPairSerializer,
    base.TokenObtainSlidingSerializer: ours.TokenObtainSlidingSerializer,
    base.TokenRefreshSerializer: ours.TokenRefreshSerializer,
    base.TokenRefreshSlidingSerializer: ours.TokenRefreshSlidingSerializer,
    base.TokenVerifySerializer: ours.TokenVerifySerializer,
    base.TokenBlacklistSerializer: ours.TokenBlacklistSerializer,
}


def patched(cls: Any) -> Any:
    """Return the class whose instances stand for those of ``cls``, a serializer.

    That is ``cls`` itself if it is one of ours, derives from none of simplejwt's, makes tokens of
    a class that is none of ours, or TOKENS_PATCH_SIMPLEJWT is False.
    """
    if issubclass(cls, ours.AsksBlacklist) or not conf.TOKENS_PATCH_SIMPLEJWT:
        return cls
    token_class = getattr(cls, "token_class", None)
    if token_class is not None and not issubclass(patched_token(token_class), RevocableToken):
        return cls
    return _patched(cls)


@cache
def _patched(cls: Any) -> Any:
    return below(cls, _OURS)
