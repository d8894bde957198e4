"""The tests of tokens and sessions once more, with another user model and other claims."""

import os
import subprocess
import sys

import pytest

from project.settings import BASE_DIR

pytestmark = pytest.mark.slow

SUITE = [
    "test_api",
    "test_authentication",
    "test_mass_logout",
    "test_jwt",
    "test_races",
    "test_session_endings",
    "test_sessions",
    "test_signals",
]


@pytest.mark.xdist_group("many at once")  # test_races is among them
@pytest.mark.timeout(1500)
def test_everything_holds_for_another_user_model_and_other_claims() -> None:
    suite = [f"tests/{name}.py" for name in SUITE]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--ds=tests.other_user.settings", *suite],
        cwd=BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.other_user.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
