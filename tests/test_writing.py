"""``tokens.management.writing``, without commands."""

import io
import os
import resource
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tokens.management import writing
from tokens.management.writing import Unwritten, write

from .processes import PATIENCE

pytestmark = pytest.mark.any_database


def test_a_pipe_that_does_not_block_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_NAP", 0.001)
    read, end = os.pipe()
    os.set_blocking(end, False)
    found: list[bytes] = []

    def take() -> None:
        with os.fdopen(read, "rb", buffering=0) as pipe:
            while data := pipe.read(10_000):
                found.append(data)

    reader = threading.Thread(target=take)
    text = "0123456789" * 50_000  # More than a pipe holds.
    with os.fdopen(end, "w") as stream:
        stream.write("before ")
        reader.start()
        write(stream, text)
    reader.join(PATIENCE)
    assert b"".join(found).decode() == f"before {text}"


@pytest.mark.parametrize("mode", ["w", "a"])
def test_half_of_a_text_is_taken_back_from_a_file(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    path.write_text("here before\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open(mode) as stream:
        stream.write("by others\n")
        stream.flush()
        before = path.read_text()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
        try:
            with pytest.raises(Unwritten, match="File too large"):
                write(stream, "0123456789\n")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_text() == before
        write(stream, "later\n")
    assert path.read_text() == f"{before}later\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_stream_says_once_which_encoding_it_has(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "said"
    with path.open("w", encoding=encoding) as stream:
        write(stream, "one\n")
        write(stream, "two\n")
    assert path.read_text(encoding=encoding) == "one\ntwo\n"


class Tee(io.TextIOWrapper):
    """It writes to more than its file."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.said = ""

    def write(self, text: str) -> int:
        self.said += text
        return super().write(text)


def test_what_a_stream_does_more_is_not_passed_by() -> None:
    tee = Tee(io.BytesIO(), "ascii")
    write(tee, "ż\n")
    assert tee.said == "\\u017c\n"
    assert tee.buffer.getvalue() == b"\\u017c\n"  # type: ignore[attr-defined]


def test_an_object_that_has_every_attribute_is_written_to() -> None:
    stream = mock.Mock()
    write(stream, "text\n")
    stream.write.assert_called_once_with("text\n")
