"""Make simplejwt's own token classes ours, whoever imports them and whenever they did.

Other packages (djoser, dj-rest-auth) and views with a forgotten import use
``rest_framework_simplejwt.tokens``. Their logins would be missed by "log out everywhere", and
their logouts would revoke nothing. So an instance of simplejwt's class is made as an instance of
ours, which is a subclass. A project's subclass of simplejwt's class gets the same behaviour below
its own methods.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from rest_framework_simplejwt import tokens as base

from ..conf import conf
from .any_type import AnyToken
from .classes import AccessToken, RefreshToken, SlidingToken
from .revocable import RevocableToken

_OURS: dict[Any, Any] = {
    base.AccessToken: AccessToken,
    base.RefreshToken: RefreshToken,
    base.SlidingToken: SlidingToken,
    base.UntypedToken: AnyToken,
}


def _function(method: Any) -> Any:
    return method.__func__


_THEIR_FOR_USER = {theirs: _function(theirs.for_user) for theirs in _OURS}
_OUR_FOR_USER = {theirs: _function(ours.for_user) for theirs, ours in _OURS.items()}


def install() -> None:
    """Patch simplejwt's classes. The setting TOKENS_PATCH_SIMPLEJWT counts at each use."""
    for theirs in _OURS:
        theirs.__new__ = _new
        theirs.for_user = classmethod(_for_user)


def patched(cls: Any) -> Any:
    """Return the class whose instances stand for those of ``cls``, a class of tokens.

    That is ``cls`` itself if it is one of ours, derives from none of simplejwt's four classes, or
    TOKENS_PATCH_SIMPLEJWT is False.
    """
    if issubclass(cls, RevocableToken) or not conf.TOKENS_PATCH_SIMPLEJWT:
        return cls
    return _patched(cls)


@cache
def _patched(cls: Any) -> Any:
    return below(cls, _OURS)


def below(cls: Any, counterparts: Mapping[Any, Any]) -> Any:
    """Return a class with the methods of ``cls`` and, below them, those of our counterpart.

    ``counterparts`` are simplejwt's classes and ours, which derive from them. The nearest base of
    ``cls`` counts. If ``cls`` is that base, this is our class itself; if there is none, ``cls``.
    """
    theirs = next((one for one in cls.__mro__ if one in counterparts), None)
    if theirs is None:
        return cls
    ours = counterparts[theirs]
    if issubclass(ours, cls):
        return ours
    body = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls)(cls.__name__, (cls, ours), body)


def _new(cls: Any, *args: Any, **kwargs: Any) -> Any:
    return object.__new__(cls if issubclass(cls, RevocableToken) else patched(cls))


def _for_user(cls: Any, user: Any) -> Any:
    """Start at our method: the project's own, if it has one, is the caller."""
    ours = patched(cls)
    is_ours = issubclass(ours, RevocableToken)
    methods = _OUR_FOR_USER if is_ours else _THEIR_FOR_USER
    return next(methods[one] for one in cls.__mro__ if one in methods)(ours, user)
