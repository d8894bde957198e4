"""The manifest for Kubernetes and the loop for Docker Compose, as their pages show them."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from .processes import PATIENCE, wait_until
from .snippets import snippet

pytestmark = pytest.mark.any_database

COMMAND = ["python", "manage.py", "cleanup_tokens", "--if-due"]

# Stands for the interpreter: writes down what it was given.
RECORDER = '#!/bin/sh\nfor word in python "$@"; do printf "%s\\n" "$word"; done > "$RECORD"\n'


def recorded(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_the_manifest_of_kubernetes_fits_its_schema() -> None:
    manifest = yaml.safe_load(snippet("kubernetes", language="yaml", beginning="apiVersion:"))
    kubernetes_validate.validate(manifest, "1.33", strict=True)
    spec = manifest["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("7 * * * *", "Forbid")
    [container] = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == COMMAND
    assert container["env"] == [{"name": "DJANGO_SETTINGS_MODULE", "value": "shop.settings"}]


@pytest.mark.parametrize("page", ["kubernetes", "docker"])
def test_the_image_is_a_blank_that_is_no_valid_name(page: str) -> None:
    text = snippet(page, language="yaml", beginning="")
    [image] = re.findall(r"image: (\S+)  # <-", text)
    assert not re.fullmatch(r"[a-z0-9._/-]+(:[\w.-]+)?", image)


def service() -> dict[str, Any]:
    [found] = yaml.safe_load(snippet("docker", language="yaml", beginning="services:"))[
        "services"
    ].values()
    return dict(found)


def test_compose_gets_a_service_with_a_health_check() -> None:
    found = service()
    assert found["environment"] == {"DJANGO_SETTINGS_MODULE": "shop.settings"}
    assert found["restart"] == "unless-stopped"
    check = found["healthcheck"]
    assert check["test"] == ["CMD", *COMMAND[:3], "--check", "-v0"]
    # What old versions of Compose know, too: they refuse a file with anything else.
    assert set(check) <= {"test", "interval", "timeout", "start_period", "retries"}


def loop() -> list[str]:
    """Return the command as Compose starts it: ``$$`` is a ``$``, and variables have no value."""
    found = service()
    return [
        re.sub(r"\$(.?)", lambda match: "$" if match[1] == "$" else "", word)
        for word in [*found["entrypoint"], *found["command"]]
    ]


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Start]:
    """Starts the loop with programs of ours as ``python`` and ``sleep``; returns its process."""
    started: list[subprocess.Popen[str]] = []

    def start(*, python: str, sleep: str) -> subprocess.Popen[str]:
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, script in (("python", python), ("sleep", sleep)):
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        process = subprocess.Popen(
            loop(),
            env={"PATH": f"{programs}:{os.environ['PATH']}", "RECORD": str(tmp_path / "record")},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_loop_starts_the_command(tmp_path: Path, container: Start) -> None:
    process = container(python=RECORDER, sleep="#!/bin/sh\nkill $PPID\n")
    assert process.wait(PATIENCE) == 0
    assert recorded(tmp_path / "record") == COMMAND


def test_the_loop_goes_on_after_a_failure(tmp_path: Path, container: Start) -> None:
    container(python='#!/bin/sh\necho x >> "$RECORD"\nexit 1\n', sleep="#!/bin/sh\n")
    record = tmp_path / "record"
    wait_until(lambda: record.exists() and len(recorded(record)) > 2)


@pytest.mark.parametrize(("code", "rest"), [(0, "3600"), (3, "3600"), (1, "60")])
def test_the_loop_rests_for_an_hour_and_after_a_failure_for_a_minute(
    tmp_path: Path, container: Start, code: int, rest: str
) -> None:
    sleep = '#!/bin/sh\necho "$1" > "$RECORD"\nkill $PPID\n'
    assert container(python=f"#!/bin/sh\nexit {code}\n", sleep=sleep).wait(PATIENCE) == 0
    assert recorded(tmp_path / "record") == [rest]


def test_stopping_the_loop_lets_the_run_end_by_itself(tmp_path: Path, container: Start) -> None:
    record = tmp_path / "record"
    python = """\
#!/bin/sh
trap 'echo stopped >> "$RECORD"; exit 3' TERM
echo started >> "$RECORD"
while :; do /bin/sleep 0.1; done
"""
    process = container(python=python, sleep="#!/bin/sh\nexit 1\n")
    wait_until(record.exists)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert recorded(record) == ["started", "stopped"]
    assert process.stderr is not None
    assert process.stderr.read() == ""
