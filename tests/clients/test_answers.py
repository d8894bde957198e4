"""schemathesis finds no answer that the schema does not describe."""

import subprocess
from pathlib import Path

from tests.including import OPERATIONS

from . import tools
from .projects import Project

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
EXAMPLES = 8  # of each operation, in each phase


def test_every_answer_is_as_the_schema_says(project: Project, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    bounds = "--max-examples", str(EXAMPLES), "--seed", "1", "--no-shrink", "--warnings", "off"
    what = "--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS)
    done = subprocess.run(
        ["schemathesis", "run", project.schema, "--url", project.url, *bounds, *what],
        cwd=tmp_path,
        env=tools.environment()
        | {
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(tools.HERE),
            "API_URL": project.url,
            "SEEN": str(seen),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = set(seen.read_text().splitlines())
    success = {
        f"{name} {204 if name in ('logout', 'end_session') else 200}"
        for name in OPERATIONS.values()
    }
    failures = {"login 400", "login 401", "refresh 401", "list_sessions 404", "end_session 404"}
    assert success | failures <= found, sorted(found)
