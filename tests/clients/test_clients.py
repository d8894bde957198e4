"""The clients of docs/howto/generate-clients.md log in, refresh, list sessions and log out."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.snippets import HOWTO, snippet

from . import tools
from .projects import USERS, Project

RUN_TYPESCRIPT = """
import { Account } from "./build/account.js";
const [url, username, password] = process.argv.slice(2);
const refused = async (act) => act().then(() => null, (error) => error.message);
const account = new Account(url);
const wrong = await refused(() => account.logIn(username, "wrong"));
await account.logIn(username, password);
await account.refresh();
await account.refresh();
const sessions = await account.sessions();
await account.logOut();
const after = await refused(() => account.sessions());
console.log(JSON.stringify({ wrong, sessions, after }));
"""

RUN_PYTHON = """
import json, sys
from account import Account
from accounts.models import TokenError

def refused(act):
    try:
        act()
    except PermissionError as error:
        (answer,) = error.args
        assert isinstance(answer, TokenError), answer
        return answer.detail

url, username, password = sys.argv[1:]
wrong = refused(lambda: Account(url, username, "wrong"))
account = Account(url, username, password)
account.refresh()
account.refresh()
sessions = [one.to_dict() for one in account.sessions()]
account.log_out()
after = refused(account.sessions)
print(json.dumps({"wrong": wrong, "sessions": sessions, "after": after}))
"""


def run(*command: Any, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=tools.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def code(language: str, *, beginning: str) -> str:
    return snippet("generate-clients", language=language, beginning=beginning, folder=HOWTO)


def use_typescript(project: Project) -> str:
    # Below the folder with the packages, so that they are found.
    folder = tools.NODE / project.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run("openapi-typescript", project.schema, "--output", "schema.d.ts", cwd=folder)
    (folder / "account.ts").write_text(code("ts", beginning="import createClient"))
    (folder / "run.js").write_text(RUN_TYPESCRIPT)
    strict = "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"
    options = *strict, "--target", "es2022", "--module", "nodenext", "--outDir", "build"
    run("tsc", *options, "account.ts", cwd=folder)
    return run("node", "run.js", project.url, *USERS[1].values(), cwd=folder)


def use_python(project: Project) -> str:
    folder = project.place
    generate = "generate", "--path", project.schema, "--meta", "none", "--overwrite"
    run("openapi-python-client", *generate, "--output-path", "accounts", cwd=folder)
    (folder / "account.py").write_text(code("python", beginning="from accounts import"))
    (folder / "run.py").write_text(RUN_PYTHON)
    strict = "-W", "error"
    return run(tools.PYTHON, *strict, "run.py", project.url, *USERS[1].values(), cwd=folder)


@pytest.mark.parametrize("use", [use_typescript, use_python], ids=["typescript", "python"])
def test_a_generated_client_does_all_that_a_user_does(
    project: Project, use: Callable[[Project], str]
) -> None:
    said = json.loads(use(project))
    assert said["wrong"] == "No active account found with the given credentials"
    (session,) = said["sessions"]
    assert session["current"] is True
    assert session["ip_address"] == "127.0.0.1"
    assert said["after"] == "Token is blacklisted"
