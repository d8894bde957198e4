"""A server that can't be had says why, and is a failure only where it is required."""

import os
from pathlib import Path

import pytest

from . import chroot

pytestmark = pytest.mark.any_database

BROKEN = "#!/bin/sh\necho E: no such suite\nexit 1\n"


@pytest.fixture
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, in which alone programs are found."""
    monkeypatch.setattr(chroot, "ROOT", tmp_path / "sid")
    monkeypatch.setattr(chroot, "mirror", lambda: "file:///nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


@pytest.mark.parametrize(("required", "code"), [("0", 0), ("1", 1)])
@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_without_debootstrap_nothing_is_run(
    nothing_there: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    required: str,
    code: int,
) -> None:
    monkeypatch.setenv("REQUIRE_DATABASES", required)
    assert chroot.main(kind, []) == code
    word = "FAILED" if code else "not run"
    assert capsys.readouterr().out == f"{kind}: {word}, it needs debootstrap\n"


def test_without_root_nothing_is_run(nothing_there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(chroot.NotToBeHad, match="root"):
        chroot.make_root()


def test_what_debootstrap_says_is_passed_on_and_tried_again(nothing_there: Path) -> None:
    program = nothing_there / "debootstrap"
    program.write_text(BROKEN)
    program.chmod(0o755)
    for _ in range(2):
        with pytest.raises(chroot.NotToBeHad, match="debootstrap failed: E: no such suite"):
            chroot.make_root()
