"""What mypy tells a project about the types of this app."""

import subprocess
import sys
from pathlib import Path

import pytest

from project.settings import BASE_DIR

pytestmark = [pytest.mark.any_database, pytest.mark.slow]

VIEWS = """
from typing import assert_type

from django.contrib.auth.models import User

from tokens.jwt import AccessToken, RefreshToken, SlidingToken
from tokens.models import TokenSession


class Mine(RefreshToken): ...


def log_in(user: User) -> str:
    refresh = assert_type(RefreshToken.for_user(user), RefreshToken)
    access = assert_type(refresh.access_token, AccessToken)
    assert_type(assert_type(Mine.for_user(user), Mine).access_token, AccessToken)
    assert_type(RefreshToken.access_token_class, type[AccessToken])
    assert_type(SlidingToken.for_user(user), SlidingToken)
    assert_type(AccessToken.for_user(user), AccessToken)
    assert_type(refresh.outstand(), TokenSession | None)
    return str(access)
"""


def test_our_tokens_are_typed_as_ours(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    views = tmp_path / "views.py"
    views.write_text(VIEWS)
    # With the cache that `make lint` has filled.
    command = [sys.executable, "-m", "mypy", str(views)]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
