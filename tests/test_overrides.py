"""What we override still takes what this Django, REST framework and simplejwt pass to it."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.admin import UserAdmin

import tokens
from tokens.admin import SessionsLinkMixin

pytestmark = pytest.mark.any_database

NEEDS_MORE_PACKAGES = "tokens.contrib."
# A mixin has no base that could tell.
USED_WITH = {SessionsLinkMixin: UserAdmin}
# simplejwt's view has a wrapper of tokens.patches there, which passes on what it gets.
WRAPPED = {"TokenView.handle_exception", "OAuthView.handle_exception"}


def ours() -> set[type]:
    found = set()
    for module in pkgutil.walk_packages(tokens.__path__, "tokens."):
        if not module.name.startswith(NEEDS_MORE_PACKAGES):
            here = vars(import_module(module.name)).values()
            found |= {one for one in here if inspect.isclass(one)}
    return {one for one in found if one.__module__.startswith("tokens.")}


def overridden() -> Iterator[tuple[str, Any, Any]]:
    """Return the name, our function and the foreign one that it stands for."""
    for cls in ours():
        theirs = [*cls.__mro__, *USED_WITH.get(cls, object).__mro__]
        theirs = [base for base in theirs if not base.__module__.startswith("tokens.")]
        for name, method in vars(cls).items():
            base = next((base for base in theirs if name in vars(base)), object)
            pair = [getattr(one, "__func__", one) for one in (method, vars(base).get(name))]
            label = f"{cls.__qualname__}.{name}"
            if all(map(inspect.isfunction, pair)) and name != "__init__" and label not in WRAPPED:
                yield label, *pair


def missing(method: Any, theirs: Any) -> list[str]:
    """Return the parameters of theirs that ours does not take by name."""
    taken = inspect.signature(method).parameters
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return []
    several = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    passed = [
        one for one in inspect.signature(theirs).parameters.values() if one.kind not in several
    ]
    return [one.name for one in passed if one.name not in taken]


def test_each_override_takes_what_the_original_takes() -> None:
    pairs = list(overridden())
    assert len(pairs) > 80
    assert "SessionsLinkMixin.get_actions" in [name for name, *_ in pairs]
    assert {name: left for name, *pair in pairs if (left := missing(*pair))} == {}
