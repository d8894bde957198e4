"""simplejwt's access token as it is where this app is not installed, which patches the original."""

from typing import TYPE_CHECKING, Any

from rest_framework_simplejwt import tokens

_OURS = ("__new__", "for_user")
_THEIR_OWN = ("__dict__", "__weakref__")


def _unpatched(cls: Any) -> Any:
    body = {key: value for key, value in vars(cls).items() if key not in (*_OURS, *_THEIR_OWN)}
    return type(cls.__name__, cls.__bases__, body)


if TYPE_CHECKING:
    AccessToken = tokens.AccessToken
else:
    AccessToken = _unpatched(tokens.AccessToken)
