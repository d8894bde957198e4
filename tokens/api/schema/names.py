"""The operationIds of our endpoints, which no other operation of the project has."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from drf_spectacular.drainage import GENERATOR_STATS, add_trace_message
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import spectacular_settings

from ..views import TokenView


class _Taken:
    """Which ids are taken while one schema is generated, and by which words of a path."""

    def __init__(self, path_prefix: str) -> None:
        self.by_the_project = _Others(urlconf=spectacular_settings.SERVE_URLCONF).ids(path_prefix)
        self.by_us: dict[str, list[str]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.by_us or name in self.by_the_project


_taken: WeakKeyDictionary[Any, _Taken] = WeakKeyDictionary()


def choose(name: str, schema: Any, *, otherwise: Callable[[], str]) -> str:
    """Return ``name``, or another id for the operation if this one is taken.

    If the URLs are included twice, the words by which the second path differs from the first are
    put in front: ``v2_login``. If an operation of the project has the name, ours is
    ``tokens_login``.
    """
    taken = _taken.get(schema.registry)
    if taken is None:
        taken = _taken[schema.registry] = _Taken(schema.path_prefix)
    words = [word.replace("-", "_") for word in schema._tokenize_path()]
    apart = [word for word in words if word not in taken.by_us.get(name, words)]
    candidates = [name, "_".join([*apart, name]), f"tokens_{name}"]
    chosen = next((one for one in candidates if one not in taken), None) or otherwise()
    taken.by_us[chosen] = words
    return chosen


class _Others(SchemaGenerator):
    """Finds the ids of all operations that are not ours, as the generator of the schema will."""

    def ids(self, path_prefix: str) -> set[str]:
        self._initialise_endpoints()
        with GENERATOR_STATS.silence():
            found = [
                self._id(path, path_regex, path_prefix, method, view)
                for path, path_regex, method, view in self._get_paths_and_endpoints()
                if _may_collide(view)
            ]
        return {one for one in found if one}

    def _id(
        self, path: str, path_regex: str, path_prefix: str, method: str, view: Any
    ) -> str | None:
        view.request = spectacular_settings.GET_MOCK_REQUEST(method, path, view, None)
        view.versioning_class = None
        schema = view.schema
        schema.path, schema.path_regex, schema.path_prefix = path, path_regex, path_prefix
        schema.method = method.upper()
        with add_trace_message(view.__class__):
            return None if schema.is_excluded() else str(schema.get_operation_id())


def _may_collide(view: Any) -> bool:
    """Return whether the view has ids of its own.

    The default ones end with a verb. With ``OPERATION_ID_METHOD_POSITION``, they may begin with one
    as ours do.
    """
    if isinstance(view, TokenView) or not isinstance(view.schema, AutoSchema):
        return False
    # drf-spectacular 0.28 and later have the setting.
    if getattr(spectacular_settings, "OPERATION_ID_METHOD_POSITION", "POST") == "PRE":
        return True
    return view.schema.__class__.get_operation_id is not AutoSchema.get_operation_id
