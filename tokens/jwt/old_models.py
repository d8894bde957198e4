"""simplejwt's two models while its blacklist app is not installed.

They are abstract then. "Log out everywhere" by the usual recipe (a row of BlacklistedToken for each
OutstandingToken of the user) raises AttributeError, which ``except Exception`` in a project hides:
the logout looks done, and nothing was revoked. So each use says what to call instead, and logs it.
"""

import sys
from typing import Any, NoReturn

from django.contrib.auth import get_user_model
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from ..log import logger

OLD_MODELS: tuple[Any, ...] = (OutstandingToken, BlacklistedToken)
REVERSE_NAME = "outstandingtoken_set"

_seen: set[tuple[str, int]] = set()


class OldModelUsed(AttributeError):
    """A project uses a model of simplejwt, whose blacklist app is not installed.

    An AttributeError, so that ``hasattr`` tells whether the app is there, as before.
    """


def install() -> None:
    """Let each use of the models explain itself. Does nothing if simplejwt's app is installed."""
    for model in OLD_MODELS:
        if model._meta.abstract:
            for name in ("objects", "DoesNotExist", "MultipleObjectsReturned"):
                setattr(model, name, _Gone(model, name))
            # Django finds these two through the options, as get_object_or_404 does.
            for name in ("default_manager", "base_manager"):
                vars(model._meta)[name] = _Stand(model, f"_{name}")
            model.__init__ = _refuse_instances(model)
    if OutstandingToken._meta.abstract:
        setattr(get_user_model(), REVERSE_NAME, _Gone(get_user_model(), REVERSE_NAME))


def _complain(model: Any, name: str) -> NoReturn:
    frame: Any = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    place = frame.f_code.co_filename, frame.f_lineno
    message = (
        f"{model.__name__}.{name} does not work: simplejwt's blacklist app is not installed. To log"
        " a user out everywhere, call tokens.sessions.end_all(user)."
    )
    if place not in _seen:
        _seen.add(place)
        logger.error("%s (%s, line %d)", message, *place)
    raise OldModelUsed(message)


class _Gone:
    """An attribute that is not there."""

    def __init__(self, model: Any, name: str) -> None:
        self.model = model
        self.name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        if self.name == REVERSE_NAME and instance is None:
            raise AttributeError(self.name)  # what looks at a class's attributes uses none
        _complain(self.model, self.name)


class _Stand:
    """A manager that is not there."""

    def __init__(self, model: Any, name: str) -> None:
        self._missing = model, name

    def __getattr__(self, name: str) -> NoReturn:
        model, manager = object.__getattribute__(self, "_missing")
        _complain(model, f"{manager}.{name}")


def _refuse_instances(model: Any) -> Any:
    plain = model.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if type(self) is model:
            _complain(model, "__init__")
        plain(self, *args, **kwargs)

    return init
