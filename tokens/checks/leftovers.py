"""Code of the project that still uses simplejwt's two models."""

import ast
import os
import sys
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

_APP = "rest_framework_simplejwt.token_blacklist"
_REVERSE = "outstandingtoken_set"
_NAMES = {"OutstandingToken", "BlacklistedToken"}
_IN_TEXT = tuple(name.encode() for name in (*_NAMES, _REVERSE))

# A thousand files take 0.1 s.
_MOST_FILES = 3000
_MOST_BYTES = 500_000

_OURS = Path(__file__).resolve().parent.parent
_INSTALLED = [
    Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")
]
_OTHER_FOLDERS = {"migrations", "tests", "node_modules", "site-packages", "dist-packages"}


@register(Tags.security)
def check_old_models(**kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with each place in the project that uses simplejwt's models."""
    places = sorted({*_in_sources(), *_in_modules()})
    hint = "To log a user out everywhere, call tokens.sessions.end_all(user)."
    if apps.is_installed(_APP):
        return [
            checks.Warning(
                f"{place} uses simplejwt's models, which have no row for a login of this app.",
                hint=hint,
                id="tokens.W037",
            )
            for place in places
        ]
    return [
        Error(
            f"{place} uses simplejwt's models, whose app is not installed.",
            hint=hint,
            id="tokens.E032",
        )
        for place in places
    ]


def _in_modules() -> Iterator[str]:
    """Yield the modules of the project that hold the models and belong to no app."""
    from ..jwt import OLD_MODELS

    held = {id(model) for model in OLD_MODELS}
    scanned = {str(path) for path in _sources()}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or file in scanned or _is_foreign(Path(file)) or _is_test(module.__name__):
            continue
        if any(id(value) in held for value in list(vars(module).values())):
            yield file


def _is_test(module: str) -> bool:
    *packages, name = module.split(".")
    return bool(_OTHER_FOLDERS & set(packages)) or _is_test_file(name)


def _is_test_file(name: str) -> bool:
    return name.startswith(("test", "conftest"))


def _in_sources() -> Iterator[str]:
    """Yield file and line of each use in the project's own apps."""
    for path in _sources():
        text = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
        if any(name in text for name in _IN_TEXT):
            yield from (f"{path}:{line}" for line in _lines(text))


def _lines(text: bytes) -> Iterator[int]:
    """Yield the lines that import a model, or get it from a module or a user."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return  # Python complains better
    modules = {"token_blacklist", "models"} | set(_names_of_models(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _is_simplejwts(node.module):
            if _NAMES & {one.name for one in node.names}:
                yield node.lineno
        elif isinstance(node, ast.Attribute):
            of = getattr(node.value, "id", getattr(node.value, "attr", None))
            if node.attr == _REVERSE or (node.attr in _NAMES and of in modules):
                yield node.lineno


def _names_of_models(tree: ast.AST) -> Iterator[str]:
    """Yield the names by which a file knows the module with the models."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (one.asname for one in node.names if one.asname)


def _is_simplejwts(module: str | None) -> bool:
    return (module or "").startswith("rest_framework_simplejwt.")


def _sources() -> list[Path]:
    """Return the Python files of the project's own apps, without migrations and tests."""
    roots = {Path(config.path) for config in apps.get_app_configs()}
    files = (path for root in sorted(roots) if not _is_foreign(root) for path in _walk(root))
    return list(islice(dict.fromkeys(files), _MOST_FILES))


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(one for one in folders if one[0] != "." and one not in _OTHER_FOLDERS)
        if "pyvenv.cfg" in files:
            folders[:] = files[:] = []
        here = Path(folder)
        if here != _OURS and _OURS not in here.parents:
            names = (one for one in sorted(files) if one.endswith(".py") and not _is_test_file(one))
            yield from (here / name for name in names)


def _is_foreign(path: Path) -> bool:
    """Return whether a file is installed, or Python's, or ours."""
    if {"site-packages", "dist-packages", "rest_framework_simplejwt"} & set(path.parts):
        return True
    return any(path.is_relative_to(one) for one in (_OURS, *_INSTALLED))
