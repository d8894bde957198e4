import os
from collections.abc import Iterator
from typing import Any

import pytest

from . import projects
from .projects import Project


@pytest.fixture(scope="session", params=["demo", "foreign"])
def project(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Project]:
    """A project that is being served, with two users."""
    make = getattr(projects, request.param)
    made: Project = make(tmp_path_factory.mktemp(request.param))
    with made.serve():
        yield made


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what no generator could be installed for."""
    can = os.environ.get("CLIENTS", "Python,TypeScript")
    for item in items:
        kind = "TypeScript" if "typescript" in item.name else "Python"
        if kind not in can:
            item.add_marker(pytest.mark.skip(reason=f"no generator for {kind}"))
        # One process for each project.
        item.add_marker(pytest.mark.xdist_group(item.callspec.params["project"]))  # type: ignore[attr-defined]
