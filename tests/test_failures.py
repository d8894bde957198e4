"""The end of the output of ``make test`` names what failed."""

import os
from pathlib import Path

import pytest

from . import databases
from .databases import Run, print_results
from .failures import LAST

pytestmark = [pytest.mark.any_database, pytest.mark.slow]

TESTS = """
import logging
import pytest

@pytest.fixture
def broken():
    raise LookupError("no such fixture")

def test_it_errs(broken):
    pass

@pytest.mark.parametrize("word", ["two words"])
def test_it_fails(word):
    logging.error("ERROR is no summary")
    print(*range(100), sep="\\n")
    try:
        raise KeyError
    except KeyError:
        assert word == "", "one line\\nand another"

def test_it_passes():
    pass
"""


def test_the_last_lines_name_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_wrong.py").write_text("import nowhere\n")
    monkeypatch.setattr(databases, "COVERAGE", False)
    options = ["-c", os.devnull, f"--rootdir={tmp_path}", "-ra", "--continue-on-collection-errors"]
    run = Run("SQLite", [*options, str(tmp_path)])
    run.environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CI": "true"}
    run.beside_others()
    assert run.failed
    capsys.readouterr()
    print_results([run], "All in no time")
    ends, _, last = capsys.readouterr().out.partition("All in no time\n")
    result, closing, *named = last.splitlines()
    assert result == "SQLite: FAILED"
    assert "1 failed, 1 passed" in closing
    assert all(line.startswith(("SQLite: FAILED ", "SQLite: ERROR ")) for line in named)
    assert sorted(line[line.index("test_") :].split("/")[-1] for line in named) == [
        "test_some.py::test_it_errs - LookupError: no such fixture",
        "test_some.py::test_it_fails[two words] - AssertionError: one line",
        "test_wrong.py",
    ]
    titles = [line for line in ends.splitlines() if line.startswith("== SQLite: the end of ")]
    assert len(titles) == len(named)
    _, its_end = ends.split("== SQLite: the end of test_it_fails[two words] ==\n")
    assert len(its_end.splitlines()) == LAST
    assert "ERROR is no summary" in its_end
    assert "LookupError: no such fixture" in ends
