"""Make simplejwt's serializers and views give our answers, whoever uses them.

An instance of a serializer of simplejwt is made as one of ours, as ``jwt.patch`` does for tokens.
The modules are patched when they are first imported: their import takes a quarter of the time that
a command needs to start.
"""

from types import ModuleType
from typing import Any

from django.db import connections

from .. import jwt
from ..conf import conf
from ..exceptions import LoginEnded
from .hook import after_import

_SERIALIZERS = (
    "TokenObtainSerializer",
    "TokenObtainPairSerializer",
    "TokenObtainSlidingSerializer",
    "TokenRefreshSerializer",
    "TokenRefreshSlidingSerializer",
    "TokenVerifySerializer",
    "TokenBlacklistSerializer",
)


def install() -> None:
    """Patch simplejwt. The setting TOKENS_PATCH_SIMPLEJWT counts at each use."""
    jwt.patch_simplejwt()
    jwt.replace_old_models()
    after_import("rest_framework_simplejwt.serializers", _patch_serializers)
    after_import("rest_framework_simplejwt.views", _patch_views)


def _patch_serializers(module: ModuleType) -> None:
    for name in _SERIALIZERS:
        _patch_serializer(getattr(module, name))


def _patch_serializer(theirs: Any) -> None:
    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        from ..api.patch import patched  # not earlier: it needs more than one module of simplejwt

        return super(theirs, cls).__new__(patched(cls), *args, **kwargs)

    if "__new__" not in vars(theirs):
        theirs.__new__ = new


def _patch_views(module: ModuleType) -> None:
    base: Any = module.TokenViewBase

    def handle_exception(view: Any, error: Exception) -> Any:
        answer = super(base, view).handle_exception
        return _answer(answer, error) if conf.TOKENS_PATCH_SIMPLEJWT else answer(error)

    base.handle_exception = handle_exception


def _answer(answer: Any, error: Exception) -> Any:
    """Answer 503 if the database fails, and commit if a refusal has ended a session.

    Under ATOMIC_REQUESTS, DRF rolls back after each error. The session would be there again,
    although its refresh token was stolen.
    """
    from ..api import reasons
    from ..api.errors import DATABASE_ERRORS, unavailable

    if isinstance(error, DATABASE_ERRORS):
        error = unavailable()
    reasons.take_along(error)
    intact = [one for one in connections.all(initialized_only=True) if _is_intact(one)]
    response = answer(error)
    if _has_ended_login(error):
        for connection in intact:
            connection.set_rollback(False)
    return response


def _is_intact(connection: Any) -> bool:
    return bool(connection.in_atomic_block and not connection.get_rollback())


def _has_ended_login(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, LoginEnded):
        error = error.__cause__
    return error is not None
