"""Patch dj-rest-auth's views and its authentication class as soon as they are imported.

Its serializers and tokens derive from simplejwt's, which ``tokens.patches`` patches.
"""

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from ...origin import used_by
from ...patches import after_import

Method = Callable[..., Any]


def install() -> None:
    after_import("dj_rest_auth.jwt_auth", _patch_authentication)
    after_import("dj_rest_auth.views", _patch_views)
    after_import("dj_rest_auth.registration.views", _patch_registration)


def _patch_authentication(module: ModuleType) -> None:
    """Derive the class that reads the cookie from ours, which also takes one statement less."""
    from ...api.authentication import JWTAuthentication

    cls: Any = module.JWTCookieAuthentication
    theirs: Method = cls.authenticate

    @wraps(theirs)
    def authenticate(self: Any, request: Any) -> Any:
        return self.ask_once(lambda request: theirs(self, request), request)

    cls.__bases__ = tuple(
        JWTAuthentication if issubclass(JWTAuthentication, one) else one for one in cls.__bases__
    )
    cls.authenticate = authenticate


def _patch_views(module: ModuleType) -> None:
    login: Any = module.LoginView
    login.login = _with_client(login.login)
    logout: Any = module.LogoutView
    theirs: Method = logout.logout

    @wraps(theirs)
    def log_out(self: Any, request: Any) -> Any:
        from ...api.client import client_of
        from .logout import log_out

        with used_by(client_of(request)):
            return log_out(lambda: theirs(self, request), request)

    logout.logout = log_out


def _patch_registration(module: ModuleType) -> None:
    register: Any = module.RegisterView
    register.perform_create = _with_client(register.perform_create)


def _with_client(theirs: Method) -> Method:
    """Let the session that a view starts remember where the request came from."""

    @wraps(theirs)
    def log_in(self: Any, *args: Any, **kwargs: Any) -> Any:
        from ...api.client import client_of

        with used_by(client_of(self.request)):
            return theirs(self, *args, **kwargs)

    return log_in
