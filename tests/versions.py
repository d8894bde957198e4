"""Run the quick tests with other versions: ``python -m tests.versions [pytest's arguments]``.

A combination is a Python from 3.11 to 3.14 that this machine has, and a Django that supports it, in
a fresh virtual environment under ``var/versions``. One more has the lowest versions that
``pyproject.toml`` allows. ``--oldest-and-newest`` runs only these two; ``--newest`` runs what is
not out yet. PYTHONS names the interpreters, separated by blanks, instead of those that are found.

This needs nothing but the standard library, so that it also runs where only Python is installed.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "var" / "versions"

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# Django's documentation, "What Python version can I use with Django?"
DJANGOS = {"5.2": PYTHONS, "6.0": PYTHONS[1:], "6.1": PYTHONS[1:]}
LOWEST, NEWEST = "lowest", "newest"

# Style and types are checked on the oldest Python only; the rest of requirements.txt is for tests.
NOT_FOR_TESTS = re.compile(r"mypy|ruff|.*-stubs\b|types-|build|hatchling|coverage")

Requirements = dict[str, str]


def requirements(lines: list[str]) -> Requirements:
    """Return each requirement under the name of its package in lower case."""
    named = {}
    for line in lines:
        if requirement := line.partition("#")[0].strip():
            name = re.match(r"[\w.-]+", requirement)
            assert name is not None, requirement
            named[name[0].lower()] = requirement
    return named


def of_the_wheel() -> Requirements:
    """Return what users get with the app."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return requirements(project["dependencies"])


def of_the_tests() -> Requirements:
    """Return what the tests need beside the app."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    ours = of_the_wheel()
    return {
        name: requirement
        for name, requirement in requirements(lines).items()
        if name not in ours and not NOT_FOR_TESTS.match(name)
    }


def wanted(django: str) -> list[str]:
    """Return the requirements of the app for a series of Django, ``LOWEST`` or ``NEWEST``.

    The newest may be pre-releases.
    """
    wheel = of_the_wheel()
    if django == LOWEST:
        return [requirement.replace(">=", "==", 1) for requirement in wheel.values()]
    if django == NEWEST:
        # pip takes a pre-release if the requirement names one.
        return [re.sub(r">=([\d.]+)", r">=\1a0", line, count=1) for line in wheel.values()]
    return list((wheel | {"django": f"Django=={django}.*"}).values())


@dataclass
class Combination:
    """The quick tests with one Python and one Django."""

    python: str
    django: str
    interpreter: str
    failed: str = ""
    versions: str = ""
    closing: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"python{self.python}-django-{self.django}"

    @property
    def program(self) -> str:
        folder = "Scripts" if os.name == "nt" else "bin"
        return str(PLACE / self.name / folder / "python")

    def prepare(self) -> None:
        """Make the virtual environment, and take all steps but the tests."""
        for file in PLACE.glob(f"{self.name}.*"):
            file.unlink()
        python, manage = self.program, [self.program, "-W", "error", "manage.py"]
        self._step("venv", self.interpreter, "-m", "venv", "--clear", str(PLACE / self.name))
        # Compiling takes longer than installing, and most modules are never imported.
        pip = ["pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
        self._step("install", python, "-m", *pip, *wanted(self.django), *of_the_tests().values())
        self.versions = self._step("versions", python, "-c", VERSIONS).strip()
        self._step("check", *manage, "check")
        self._step("migrations", *manage, "makemigrations", "--check", "--dry-run")
        self._step("migrate", *manage, "migrate", "--verbosity", "0")
        self._step("demo", python, "-m", "project.demo")

    def test(self, arguments: list[str]) -> None:
        """Run the tests, if no step before them failed."""
        options = ["-q", "-n", "auto", "--dist", "loadgroup", "-m", "not slow and not cron"]
        output = self._step("tests", self.program, "-m", "pytest", *options, *arguments)
        if closing := re.search(r"^(?:=+ )?(\d+ .+ in [\d.]+s.*?)(?: =+)?$", output, re.MULTILINE):
            self.closing = closing[1]
        print(f"{self.name}: {self.failed or 'passed'}", flush=True)

    def _step(self, step: str, *command: str) -> str:
        """Return what the command writes, which a log keeps; nothing if a step before it failed."""
        if self.failed:
            return ""
        began = monotonic()
        with (PLACE / f"{self.name}.log").open("a+", errors="replace") as log:
            start = log.seek(0, os.SEEK_END)
            done = subprocess.run(
                command, cwd=ROOT, env=self._environment(), stdout=log, stderr=log, check=False
            )
            log.seek(start)
            output = log.read()
        self.seconds[step] = monotonic() - began
        if done.returncode:
            self.failed = f"{step} FAILED"
            print(f"{self.name}: {self.failed}\n{output[-6000:]}", flush=True)
        return output

    def _environment(self) -> dict[str, str]:
        # A file of its own, because the tests name theirs after it.
        database = f"sqlite:///var/versions/{self.name}.sqlite3"
        given = os.environ | {"DEBUG": "1", "DATABASE_URL": database}
        given.pop("PYTHONDONTWRITEBYTECODE", None)
        return given


# What was really installed, in one line.
VERSIONS = """
import platform
from importlib.metadata import version
names = ["Django", "djangorestframework", "djangorestframework-simplejwt", "PyJWT"]
print(platform.python_version(), *map(version, names))
"""


def found() -> dict[str, str]:
    """Return the interpreters of this machine that can make virtual environments, by version."""
    if given := os.environ.get("PYTHONS"):
        candidates = given.split()
    else:
        candidates = [sys.executable, *(f"python{version}" for version in PYTHONS), *_of_pyenv()]
    there: dict[str, str] = {}
    for candidate in candidates:
        program = shutil.which(candidate)
        if program and (version := _version(program)):
            there.setdefault(version, program)
    return dict(sorted(there.items(), key=lambda item: int(item[0].partition(".")[2])))


def _of_pyenv() -> list[str]:
    """Return the interpreters that pyenv has installed, newest first."""
    if not shutil.which("pyenv"):
        return []
    root = _output(["pyenv", "root"])
    names = _output(["pyenv", "versions", "--bare"]).split()
    return [str(Path(root) / "versions" / name / "bin" / "python") for name in reversed(names)]


def _version(program: str) -> str:
    """Return "3.13", or nothing if the program does not run or is not for us.

    A shim of pyenv is there for versions that are installed, but not switched on, too.
    """
    needed = "import ensurepip, sqlite3, sys, venv; print(*sys.version_info[:2], sep='.')"
    version = _output([program, "-c", needed])
    minor = version.partition(".")[2]
    return version if minor.isdigit() and version.startswith("3.") and int(minor) >= 11 else ""


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def combinations(there: dict[str, str], *, ends: bool, newest: bool) -> list[Combination]:
    """Return what to run: all, or only the oldest and the newest, or only what is not out yet."""
    versions = list(there)
    last = versions[-1]
    if newest:
        return [Combination(last, NEWEST, there[last])]
    # Django 5.2 supports Python 3.14 from 5.2.8 on only.
    pairs = [(versions[0], LOWEST)] if versions[0] in PYTHONS[:-1] else []
    # A Python that Django does not know yet was asked for by name, so it is tried.
    pairs += [
        (python, django)
        for python in versions
        for django, supported in DJANGOS.items()
        if python in supported or python not in PYTHONS
    ]
    if ends:
        pairs = [pairs[0], pairs[-1]]
    return [Combination(python, django, there[python]) for python, django in pairs]


def report(runs: list[Combination], there: dict[str, str]) -> None:
    print("The versions are of Python, Django, Django REST framework, simplejwt and PyJWT.")
    for run in runs:
        took = ", ".join(f"{step} {spent:.0f}" for step, spent in run.seconds.items() if spent >= 1)
        result = run.failed or "passed"
        print(f"{run.name:<25} {run.versions:<36} {result:<12} {run.closing}")
        print(f"{'':<25} {sum(run.seconds.values()):.0f} s: {took}")
    for version in PYTHONS:
        if version not in there:
            place = "PYTHONS names" if os.environ.get("PYTHONS") else "this machine has"
            print(f"{'python' + version:<25} not run, {place} none")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--oldest-and-newest", action="store_true", help="run only these two")
    which.add_argument(
        "--newest", action="store_true", help="run only the newest, pre-releases too"
    )
    options, arguments = parser.parse_known_args(words)
    if not any("randomly" in argument for argument in arguments):
        arguments = [f"--randomly-seed={random.getrandbits(32)}", *arguments]
    there = found()
    if not there:
        print("No Python from 3.11 on was found that can make virtual environments.")
        return 1
    PLACE.mkdir(parents=True, exist_ok=True)
    began = monotonic()
    runs = combinations(there, ends=options.oldest_and_newest, newest=options.newest)
    print("Running", *(run.name for run in runs), flush=True)
    # The next environment is made, and its demo waits, while the tests run. The tests take turns,
    # as they use all processors.
    with ThreadPoolExecutor(1) as pool:
        prepared = [pool.submit(run.prepare) for run in runs]
        for run, ready in zip(runs, prepared, strict=True):
            ready.result()
            run.test(arguments)
    print(f"\nAll in {monotonic() - began:.0f} s, with", *arguments)
    report(runs, there)
    return int(any(run.failed for run in runs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
