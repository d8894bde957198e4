"""The checks for other packages, and for code that still uses simplejwt's models."""

import sys
import types
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from django.apps import AppConfig, apps
from django.core.checks import run_checks
from django.urls import path
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from tokens.checks import leftovers, packages

pytestmark = pytest.mark.any_database

IMPORT = "from rest_framework_simplejwt.token_blacklist."
FOUND = {
    "from import": f"{IMPORT}models import OutstandingToken",
    "second name": f"{IMPORT}models import (\n    BlacklistedToken as B,\n)",
    "by the tokens": "from rest_framework_simplejwt.tokens import BlacklistedToken, RefreshToken",
    "in a function": f"def out(user):\n    try:\n        {IMPORT}models import BlacklistedToken\n"
    "    except Exception:\n        pass",
    "module": "from rest_framework_simplejwt.token_blacklist import models\n"
    "models.OutstandingToken.objects.all()",
    "alias": "import rest_framework_simplejwt.token_blacklist.models as old\nold.BlacklistedToken",
    "whole path": "import rest_framework_simplejwt.token_blacklist.models\n"
    "rest_framework_simplejwt.token_blacklist.models.OutstandingToken",
    "reverse": "def out(user):\n    user.outstandingtoken_set.all()",
}
LINES = {"in a function": 3, "module": 2, "alias": 2, "whole path": 2, "reverse": 2}
LEFT = {
    "comment": "# OutstandingToken and user.outstandingtoken_set are gone",
    "own class": "class OutstandingToken:\n    pass\n\nOutstandingToken.objects = 1",
    "other tokens": "from rest_framework_simplejwt.tokens import RefreshToken  # OutstandingToken",
    "broken": "from rest_framework_simplejwt import (OutstandingToken",
    "too long": f"{IMPORT}models import OutstandingToken\n#" + "x" * 500_000,
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An app of the project, in a folder of its own."""
    config = AppConfig("shop", types.SimpleNamespace(__path__=[str(tmp_path)]))
    configs = [*apps.get_app_configs(), config]
    monkeypatch.setattr(apps, "get_app_configs", lambda: configs)
    return tmp_path


def found() -> list[Any]:
    return [message for message in run_checks() if message.id in {"tokens.E032", "tokens.W037"}]


@pytest.mark.parametrize("name", FOUND)
def test_E032_a_use_in_an_app_of_the_project(name: str, app: Path) -> None:
    (app / "services").mkdir()
    (app / "services" / "logout.py").write_text(FOUND[name])
    (message,) = found()
    assert message.id == "tokens.E032"
    assert f"{app / 'services' / 'logout.py'}:{LINES.get(name, 1)} " in message.msg
    assert "tokens.sessions.end_all(user)" in message.hint


@pytest.mark.parametrize("code", LEFT.values(), ids=LEFT)
def test_what_only_looks_like_it_is_left_alone(code: str, app: Path) -> None:
    (app / "services.py").write_text(code)
    assert found() == []


@pytest.mark.parametrize(
    "place",
    [
        "tests/helpers.py",
        "test_logout.py",
        "conftest.py",
        "migrations/0002_copy.py",
        ".venv/site.py",
        "env/lib/python3/site-packages/other.py",
        "env2/other.py",
        "notes.txt",
    ],
)
def test_tests_migrations_and_what_is_installed_do_not_count(place: str, app: Path) -> None:
    (app / place).parent.mkdir(parents=True, exist_ok=True)
    (app / place).write_text(FOUND["from import"])
    (app / "env2").mkdir(exist_ok=True)
    (app / "env2" / "pyvenv.cfg").touch()
    assert found() == []


def test_W037_with_simplejwts_app_the_recipe_finds_no_logins(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "logout.py").write_text(FOUND["from import"])
    installed = apps.is_installed
    old = "rest_framework_simplejwt.token_blacklist"
    monkeypatch.setattr(apps, "is_installed", lambda name: name == old or installed(name))
    (message,) = found()
    assert (message.id, "no row for a login" in message.msg) == ("tokens.W037", True)


@pytest.mark.parametrize(
    ("name", "expected"), [("project.logout", 1), ("project.tests.logout", 0), ("conftest", 0)]
)
def test_E032_a_module_of_the_project_that_belongs_to_no_app(
    name: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = types.ModuleType(name)
    module.__file__ = str(tmp_path / "logout.py")
    module.Renamed = OutstandingToken
    monkeypatch.setitem(sys.modules, name, module)
    assert [message.id for message in found()] == ["tokens.E032"] * expected


def test_a_large_project_costs_little(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1000):
        (app / f"m{number}.py").write_text("value = 1\n" * 200)
    start = perf_counter()
    assert leftovers.check_old_models() == []
    assert perf_counter() - start < 5
    monkeypatch.setattr(leftovers, "_MOST_FILES", 10)
    assert len(leftovers._sources()) == 10


@pytest.mark.parametrize("given", [{"REST_AUTH": {"USE_JWT": True}}, {"REST_USE_JWT": True}])
def test_E030_dj_rest_auth_without_its_glue(
    given: dict[str, Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"dj_rest_auth"}
    monkeypatch.setattr(apps, "is_installed", lambda name: name in installed)
    assert packages.check_dj_rest_auth() == []
    for name, value in given.items():
        setattr(settings, name, value)
    (message,) = packages.check_dj_rest_auth()
    assert message.id == "tokens.E030"
    assert message.hint == 'Add "tokens.contrib.dj_rest_auth" to INSTALLED_APPS.'
    installed.add("tokens.contrib.dj_rest_auth")
    (message,) = packages.check_dj_rest_auth()  # the tests switch the patch off
    assert "TOKENS_PATCH_SIMPLEJWT" in message.hint
    settings.TOKENS_PATCH_SIMPLEJWT = True
    assert packages.check_dj_rest_auth() == []


def social(request: Any) -> None:
    raise NotImplementedError


social.__module__ = "djoser.social.views"
urlpatterns = [path("o/", social), path("mine/", lambda request: None)]


def test_E031_social_logins_of_djoser_without_the_patch(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: name == "djoser")
    assert packages.check_djoser() == []
    settings.ROOT_URLCONF = __name__
    (message,) = packages.check_djoser()
    assert (message.id, "'o/'" in message.msg) == ("tokens.E031", True)
    settings.DJOSER = {"SOCIAL_AUTH_TOKEN_STRATEGY": "shop.auth.Strategy"}
    assert packages.check_djoser() == []
    del settings.DJOSER
    settings.TOKENS_PATCH_SIMPLEJWT = True
    assert packages.check_djoser() == []
