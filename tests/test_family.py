"""A user model that inherits from another model, and whose ``is_active`` is a property."""

import os
import subprocess
import sys

import pytest

from project.settings import BASE_DIR

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


def test_it_does_not_matter_which_relative_of_the_user_is_saved_or_deleted() -> None:
    settings = "tests.family.settings"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--ds={settings}", "tests/family/cases.py"],
        cwd=BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
