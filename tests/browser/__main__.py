"""Run the tests in Chromium, without a theme and under each: ``python -m tests.browser``."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
THEMES = ["unfold", "jazzmin", "grappelli"]


def main(arguments: list[str]) -> int:
    failed = 0
    for theme in ["", *THEMES]:
        names = ["test_themes.py"] if theme else ["test_admin.py", "test_cookies.py"]
        tests = [str(HERE / name) for name in names]
        print(f"\n== {theme or 'Django'} ==", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-c", str(HERE / "pytest.ini")]
        done = subprocess.run(
            [*command, f"--rootdir={HERE.parent.parent}", *tests, *arguments],
            env=os.environ | {"THEME": theme},
            check=False,
        )
        failed = failed or done.returncode
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
