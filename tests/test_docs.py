"""The documentation names everything that is public, its links lead somewhere, its snippets parse.

A name counts as documented in its own section of the reference only; checks go by their id.
A snippet is checked when its fence names a language: ``python``, ``sh`` or ``json``.
"""

import ast
import json
import re
import subprocess
from argparse import Action
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.dispatch import Signal

from project.settings import BASE_DIR
from tokens import checks, signals, urls
from tokens.api import views
from tokens.conf import Conf

pytestmark = pytest.mark.any_database

PAGES = sorted([*BASE_DIR.glob("*.md"), *BASE_DIR.glob("docs/**/*.md")])
REFERENCE = (BASE_DIR / "docs" / "reference.md").read_text()

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def section(heading: str) -> str:
    """Return the text under a heading of the reference, as far as the next one of its level."""
    _, found, rest = REFERENCE.partition(f"\n{heading}\n")
    assert found, f"docs/reference.md has no heading {heading!r}"
    level = heading.split()[0]
    return re.split(rf"^{level} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app == "tokens")


def own_options(command: BaseCommand) -> Iterator[Action]:
    """Yield the options that this command adds to those of every command."""
    usual = {action.dest for action in BaseCommand().create_parser("", "")._actions}
    parser = command.create_parser("manage.py", "any")
    yield from (action for action in parser._actions if action.dest not in usual)


def snippets(*languages: str) -> list[object]:
    return [
        pytest.param(
            code, id=f"{page.relative_to(BASE_DIR)}:{text[: match.start()].count(chr(10)) + 1}"
        )
        for page in PAGES
        for text in [page.read_text()]
        for match in _FENCE.finditer(text)
        for language, code in [match.groups()]
        if language in languages
    ]


def links() -> list[object]:
    return [
        pytest.param(page, target, id=f"{page.relative_to(BASE_DIR)}: {target}")
        for page in PAGES
        for target in dict.fromkeys(_LINK.findall(_FENCE.sub("", page.read_text())))
        if not re.match(r"[a-z]+:", target)
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors that hosting platforms make of the headings of ``page``."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("name", [name for name in vars(Conf) if name.startswith("TOKENS_")])
def test_every_setting_is_documented(name: str) -> None:
    assert f"\n| `{name}` |" in section("## Settings")


def test_no_setting_is_documented_that_does_not_exist() -> None:
    rows = re.findall(r"^\| `(TOKENS_\w+)` \|", section("## Settings"), re.MULTILINE)
    assert sorted(rows) == sorted(name for name in vars(Conf) if name.startswith("TOKENS_"))


def test_every_check_is_documented_and_no_other() -> None:
    pattern = r"tokens\.[EWI]\d{3}"
    known = set(
        re.findall(
            pattern, "".join(path.read_text() for path in Path(checks.__path__[0]).glob("*.py"))
        )
    )
    assert known
    assert set(re.findall(pattern, REFERENCE)) == known


@pytest.mark.parametrize("name", commands())
def test_every_command_and_each_of_its_options_is_documented(name: str) -> None:
    text = section(f"### `{name}`")
    for action in own_options(load_command_class("tokens", name)):
        for flag in action.option_strings:
            assert f"`{flag}`" in text, f"{name} {flag} is not documented"


@pytest.mark.parametrize("pattern", urls.urlpatterns, ids=lambda pattern: pattern.name)
def test_every_endpoint_is_documented(pattern: object) -> None:
    row = f"`{pattern.pattern}` | `{pattern.name}` |"  # type: ignore[attr-defined]
    assert row in section("## Endpoints")


PUBLIC_VIEWS = [
    name
    for name, value in vars(views).items()
    if isinstance(value, type) and issubclass(value, views.TokenView)
]


@pytest.mark.parametrize("name", PUBLIC_VIEWS)
def test_every_view_is_documented(name: str) -> None:
    assert f"`{name}`" in section("### Views")


@pytest.mark.parametrize(
    "name", [name for name, value in vars(signals).items() if isinstance(value, Signal)]
)
def test_every_signal_is_documented(name: str) -> None:
    assert f"\n| `{name}` |" in section("## Signals")


@pytest.mark.parametrize(("page", "target"), links())
def test_every_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = unquote(target).partition("#")
    there = (page.parent / path).resolve() if path else page
    assert there.exists()
    assert not anchor or anchor in anchors(there), f"{there.name} has no heading for #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_is_closed(page: Path) -> None:
    assert page.read_text().count("\n```") % 2 == 0


@pytest.mark.parametrize("code", snippets("python"))
def test_python_snippets_parse(code: str) -> None:
    ast.parse(code)


@pytest.mark.parametrize("code", snippets("json"))
def test_json_snippets_parse(code: str) -> None:
    json.loads(code)


@pytest.mark.parametrize("code", snippets("sh"))
def test_shell_snippets_parse(code: str) -> None:
    done = subprocess.run(["sh", "-n"], input=code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
