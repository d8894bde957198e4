"""The generators, in ``var/clients``."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASE = HERE.parent.parent
WORK = BASE / "var" / "clients"
NODE, VENV = WORK / "node", WORK / "venv"
PYTHON = VENV / "bin" / "python"


def install_node() -> str:
    """Install what package-lock.json says; return why that failed, or nothing."""
    files = [HERE / "package.json", HERE / "package-lock.json"]
    if shutil.which("npm") is None or _is_installed(NODE, files):
        return ""
    NODE.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, NODE)
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    return _run(["npm", "ci", *quiet], cwd=NODE) or _note(NODE, files)


def install_python() -> str:
    """Install what requirements.txt says; return why that failed, or nothing."""
    files = [HERE / "requirements.txt"]
    if _is_installed(VENV, files):
        return ""
    quiet = ["--quiet", "--disable-pip-version-check"]
    return (
        _run([sys.executable, "-m", "venv", "--clear", VENV])
        or _run([PYTHON, "-m", "pip", "install", *quiet, "--requirement", *files])
        or _note(VENV, files)
    )


def environment() -> dict[str, str]:
    """Return the environment of the generators, which call each other by name."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    places = [VENV / "bin", NODE / "node_modules" / ".bin", kept.get("PATH", "")]
    return kept | {"PATH": os.pathsep.join(map(str, places)), "NO_COLOR": "1"}


def _run(command: list[str | Path], cwd: Path = BASE) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    said = [*(done.stderr or done.stdout).splitlines(), f"exit code {done.returncode}"]
    return next((line for line in said if "error" in line.lower()), said[-1])


def _wanted(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _is_installed(where: Path, files: list[Path]) -> bool:
    stamp = where / "installed"
    return stamp.exists() and stamp.read_text() == _wanted(files)


def _note(where: Path, files: list[Path]) -> str:
    (where / "installed").write_text(_wanted(files))
    return ""
