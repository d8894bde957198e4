"""The tests of tokens and sessions once more, with another user model and other claims.

SQLite runs all of them. The servers run those whose SQL depends on the type of the user's key or on
the field that tokens name: they look users up, lock them, and find or end what is theirs. What a
request transaction changes does not depend on the user, and neither does what an endpoint says
about a malformed request, so the servers leave both out.
"""

import os
import subprocess
import sys

import pytest
from django.db import connection

from project.settings import BASE_DIR

pytestmark = pytest.mark.slow

SENDS_OTHER_SQL = [
    "tests/test_authentication.py",
    "tests/test_deleting_users.py",
    "tests/test_jwt.py",
    "tests/test_mass_logout.py",
    "tests/test_password_changes.py",
    "tests/test_races.py::test_a_token_of_plain_simplejwt_is_adopted_once",
    "tests/test_races.py::test_a_refresh_that_races_with_the_end_leaves_no_survivor",
    "tests/test_session_endings.py",
    "tests/test_sessions.py",
    "tests/test_signals.py",
]
EVERYTHING = sorted({"tests/test_api.py", *(name.partition("::")[0] for name in SENDS_OTHER_SQL)})


@pytest.mark.timeout(1500)
def test_everything_holds_for_another_user_model_and_other_claims() -> None:
    chosen = EVERYTHING
    if connection.vendor != "sqlite":
        chosen = ["-k", "not ATOMIC_REQUESTS", *SENDS_OTHER_SQL]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--ds=tests.other_user.settings", *chosen],
        cwd=BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.other_user.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
