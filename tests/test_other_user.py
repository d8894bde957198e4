"""The tests of tokens and sessions once more, with another user model and other claims.

SQLite runs all of them but those of request transactions, whose work does not depend on the user,
and those of what never reaches the database. The servers run those whose SQL depends on the type of
the user's key or on the field that tokens name: they look users up, lock them, and find or end what
is theirs. What an endpoint says about a malformed request does not, so the servers leave it out.
"""

import os
import subprocess
import sys

import pytest
from django.db import connection

from project.settings import BASE_DIR

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

SENDS_OTHER_SQL = [
    "tests/test_acts.py",
    "tests/test_authentication.py",
    "tests/test_deleting_users.py",
    "tests/test_ending_for_groups.py",
    "tests/test_jwt.py",
    "tests/test_lifetimes.py",
    "tests/test_mass_logout.py",
    "tests/test_password_changes.py",
    "tests/test_races.py::test_a_token_of_plain_simplejwt_is_adopted_once",
    "tests/test_races.py::test_a_refresh_that_races_with_the_end_leaves_no_survivor",
    "tests/test_session_endings.py",
    "tests/test_sessions.py",
    "tests/test_signals.py",
]
ON_SQLITE = ["tests/test_admin_lookup.py", "tests/test_api.py"]
EVERYTHING = sorted({*ON_SQLITE, *(name.partition("::")[0] for name in SENDS_OTHER_SQL)})


@pytest.mark.timeout(1500)
def test_everything_holds_for_another_user_model_and_other_claims() -> None:
    chosen = EVERYTHING if connection.vendor == "sqlite" else SENDS_OTHER_SQL
    leave_out = ["--skip-any-database", "-k", "not ATOMIC_REQUESTS"]
    settings = "tests.other_user.settings"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--ds={settings}", *leave_out, *chosen],
        cwd=BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
