"""django-axes limits our login, set up as our page says. In a process and a project of its own."""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def test_axes_locks_a_name_at_an_address_and_nobody_else() -> None:
    done = subprocess.run(
        [sys.executable, HERE / "axes_project.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "before": 200,
        "wrong": [401],
        "locked": 401,
        "from elsewhere": 200,
        "colleague": 200,
        "checks": [],
    }
