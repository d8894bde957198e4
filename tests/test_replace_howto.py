"""What the page about replacing simplejwt's blacklist tells people to copy."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.db import connection
from rest_framework.test import APIRequestFactory

from project.settings import BASE_DIR
from tokens.checks.protection import check_protection
from tokens.conf import conf
from tokens.jwt import RefreshToken

from .snippets import snippet

PAGE = "../replace-simplejwt"
TEXT = (BASE_DIR / "docs" / "howto" / "replace-simplejwt.md").read_text()
COMMANDS = re.findall(r"^python manage\.py (.+)$", TEXT, re.MULTILINE)

BEFORE = {
    "login.py": "from rest_framework_simplejwt.tokens import RefreshToken",
    "cookies.py": "from rest_framework_simplejwt.authentication import JWTAuthentication",
    "claims.py": "from rest_framework_simplejwt.serializers import TokenObtainPairSerializer",
    "views.py": "from rest_framework_simplejwt.views import TokenObtainPairView",
    "settings.py": '    "rest_framework_simplejwt.token_blacklist",',
    "everywhere.py": "for token in OutstandingToken.objects.filter(user=user):",
    "out.py": "    BlacklistedToken.objects.get_or_create(token=token)",
    "0007_grants.py": '    dependencies = [("token_blacklist", "0012_alter")]',
    "sid.py": 'token["sid"] = str(session.id)',
    "cron.sh": "python manage.py flushexpiredtokens",
    "compose.yml": "command: python manage.py flushexpiredtokens",
}
AFTER = {
    "login.py": "from tokens.jwt import RefreshToken",
    "views.py": "from tokens.api.views import TokenObtainPairView",
    "settings.py": 'INSTALLED_APPS = ["rest_framework_simplejwt", "tokens"]',
    "cron.sh": "python manage.py cleanup_tokens --if-due",
}


def found_in(folder: Path, files: dict[str, str]) -> set[str]:
    for name, line in files.items():
        (folder / name).write_text(line + "\n")
    search = snippet(PAGE, language="sh", beginning="grep")
    done = subprocess.run(["sh", "-c", search], cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    return {line.removeprefix("./").split(":")[0] for line in done.stdout.splitlines()}


@pytest.mark.any_database
def test_the_search_finds_what_is_to_be_changed_and_nothing_afterwards(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    assert found_in(before, BEFORE) == set(BEFORE)
    assert found_in(after, AFTER) == set()


@pytest.mark.any_database
@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists_and_takes_its_options(line: str) -> None:
    name, *arguments = shlex.split(line)
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    parser.parse_args(arguments)


@pytest.mark.any_database
def test_the_steps_stand_in_their_order() -> None:
    imports = [line for line in COMMANDS if line.startswith("import_simplejwt_blacklist")]
    assert COMMANDS[0] == "migrate"
    assert imports[1] == imports[-2] == "import_simplejwt_blacklist", "first, and again"
    assert COMMANDS[-1] == imports[-1] == "import_simplejwt_blacklist --drop"


@pytest.mark.django_db
def test_the_subclass_of_the_authentication_refuses_revoked_tokens(
    user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}
    exec(snippet(PAGE, language="python", beginning="from rest_framework.request"), found)  # noqa: S102
    door = found["CookieAuthentication"]
    monkeypatch.setattr("tests.snippets.CookieAuthentication", door, raising=False)
    settings.REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": [
            "tests.snippets.CookieAuthentication",
            "rest_framework.authentication.SessionAuthentication",
        ]
    }
    settings.SIMPLE_JWT = settings.SIMPLE_JWT | {
        "AUTH_TOKEN_CLASSES": ["rest_framework_simplejwt.tokens.AccessToken"]
    }
    assert check_protection() == []
    token = RefreshToken.for_user(user)
    request = APIRequestFactory().get("/")
    request.COOKIES["access"] = str(token.access_token)
    assert door().authenticate(request)[0] == user
    token.blacklist()
    with pytest.raises(Exception, match="blacklisted"):
        door().authenticate(request)


@pytest.mark.django_db(transaction=True)
def test_the_migration_runs_without_the_old_tables() -> None:
    found: dict[str, Any] = {"__name__": "0007_grants"}
    exec(snippet(PAGE, language="python", beginning="from django.db import migrations"), found)  # noqa: S102
    with connection.schema_editor(collect_sql=True) as editor:
        found["grant"](None, editor)
        assert editor.collected_sql == []
    assert found["Migration"].dependencies == []


@pytest.mark.any_database
def test_the_setting_for_tests_is_one(settings: Any) -> None:
    found: dict[str, Any] = {}
    exec(snippet(PAGE, language="python", beginning="from datetime"), found)  # noqa: S102
    settings.TOKENS_ROTATION_GRACE = found["TOKENS_ROTATION_GRACE"]
    assert not conf.TOKENS_ROTATION_GRACE
