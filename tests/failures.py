"""What failed in the tests, out of the lines that pytest has written."""

import re

MOST = 10  # failures of which the ends are returned
LAST = 40  # lines of each

_SECTION = re.compile(r"=+ (.+?) =+")
_TITLE = re.compile(r"_+ (\w\S.*?) _+")  # not the "_ _ _" between the parts of a traceback
_NAMED = re.compile(r"(?:FAILED|ERROR) \S")


def names(lines: list[str]) -> list[str]:
    """Return a line for each test or file that failed, as pytest's summary has it."""
    return [line for line in _section(lines, "short test summary info") if _NAMED.match(line)]


def ends(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Return the first failures by title, each with its last lines."""
    found: list[tuple[str, list[str]]] = []
    for line in _section(lines, "ERRORS") + _section(lines, "FAILURES"):
        if title := _TITLE.fullmatch(line):
            found.append((title[1], []))
        elif found:
            found[-1][1].append(line)
    return [(title, body[-LAST:]) for title, body in found[:MOST]]


def _section(lines: list[str], name: str) -> list[str]:
    """Return the lines below this heading of pytest's, as far as its next one."""
    found, inside = [], False
    for line in lines:
        if heading := _SECTION.fullmatch(line):
            inside = heading[1] == name
        elif inside:
            found.append(line)
    return found
