"""Run the suites of other packages without and with our app: ``python -m tests.foreign``.

Downloads the source distributions by name at the pinned versions, and makes a virtual environment
in ``var/foreign``. Fails if a test fails that ``differences`` does not name, or if one passes that
it names.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from .differences import DJ_REST_AUTH, PYJWT, SIMPLEJWT

HERE = Path(__file__).resolve().parent
BASE = HERE.parent.parent
WORK = BASE / "var" / "foreign"
PYTHON = WORK / "venv" / "bin" / "python"
REQUIREMENTS = HERE / "requirements.txt"

# It asks graph.facebook.com, and passes only if that answers.
WITHOUT_NETWORK = (
    "--deselect=tests/test_serializers.py::TestSocialLoginSerializer::test_http_error",
)


@dataclass(frozen=True)
class Run:
    """One run of a suite, in ``folder``; ``may_fail`` has a reason for each failing test."""

    title: str
    folder: Path
    options: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    may_fail: Mapping[str, str] = field(default_factory=dict)


def main() -> int:
    """Return the exit code: 0 if exactly what may fail fails."""
    install()
    simplejwt, dj = source("djangorestframework-simplejwt"), source("dj-rest-auth")
    package, plugins = dj / "dj_rest_auth", HERE / "plugins"
    settings = *WITHOUT_NETWORK, "tests", "-c", str(HERE / "pytest.ini"), "--rootdir=.", "--ds"
    runs = [
        Run("simplejwt, before", simplejwt, may_fail=PYJWT),
        Run("simplejwt", simplejwt, ("-p", "with_tokens"), (plugins,), PYJWT | SIMPLEJWT),
        Run("dj-rest-auth, before", package, (*settings, "dj_rest_auth_before"), (plugins, dj)),
        Run(
            "dj-rest-auth", package, (*settings, "dj_rest_auth_after"), (plugins, dj), DJ_REST_AUTH
        ),
        Run(
            "our tests",
            HERE / "own",
            ("-c", str(HERE / "pytest.ini"), "--rootdir=.", "--ds", "own_settings"),
            (HERE / "own",),
        ),
    ]
    return max([is_wrong(run) for run in runs])


def install() -> None:
    """Make the virtual environment, unless it has what the requirements say."""
    stamp = WORK / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", WORK / "venv"], check=True)
    pip("install", "--requirement", str(REQUIREMENTS), "--editable", str(BASE))
    stamp.write_text(wanted)


def source(name: str) -> Path:
    """Return the unpacked source distribution of a requirement."""
    (line,) = (one for one in REQUIREMENTS.read_text().splitlines() if one.startswith(name + "=="))
    stem = line.replace("-", "_").replace("==", "-")
    if not (WORK / stem).exists():
        pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(WORK), line)
        with tarfile.open(WORK / f"{stem}.tar.gz") as archive:
            archive.extractall(WORK, filter="data")
    return WORK / stem


def pip(command: str, *arguments: str) -> None:
    quiet = "--quiet", "--disable-pip-version-check"
    subprocess.run([PYTHON, "-m", "pip", command, *quiet, *arguments], check=True)


def is_wrong(run: Run) -> bool:
    """Run a suite, print what came out, and return whether something is wrong."""
    report = WORK / "report.xml"
    report.unlink(missing_ok=True)
    paths = os.pathsep.join(map(str, run.paths))
    unset = {"DJANGO_SETTINGS_MODULE", "DATABASE_URL", "PYTEST_ADDOPTS"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "--tb=short", f"--junitxml={report}", *run.options],
        cwd=run.folder,
        env=environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 1 or not report.exists():
        print(f"{run.title}: pytest did not run\n{done.stdout}{done.stderr}")
        return True
    cases = {name_of(case): case for case in ElementTree.parse(report).iter("testcase")}  # noqa: S314
    failed = {name for name, case in cases.items() if has(case, "failure", "error")}
    skipped = sum(has(case, "skipped") for case in cases.values())
    passed = len(cases) - len(failed) - skipped
    print(f"{run.title}: {passed} passed, {len(failed)} failed, {skipped} skipped")
    new, mended = failed - set(run.may_fail), set(run.may_fail) - failed
    for name in sorted(failed & set(run.may_fail)):
        print(f"  {name}: {run.may_fail[name]}")
    for name in sorted(mended):
        print(f"  {name}: PASSES, or is gone: take it off the list")
    if new:
        print(done.stdout)
    for name in sorted(new):
        print(f"  {name}: FAILS, and is not on the list")
    return bool(new or mended)


def name_of(case: ElementTree.Element) -> str:
    return f"{case.get('classname', '').rpartition('tests.')[2]}.{case.get('name')}"


def has(case: ElementTree.Element, *kinds: str) -> bool:
    return any(case.find(kind) is not None for kind in kinds)


if __name__ == "__main__":
    sys.exit(main())
