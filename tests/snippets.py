"""The snippets that the how-to pages tell people to copy."""

import re
from pathlib import Path

from project.settings import BASE_DIR

HOWTO = BASE_DIR / "docs" / "howto"


def snippet(page: str, *, language: str, beginning: str, folder: Path = HOWTO / "schedule") -> str:
    """Return the one snippet of the page that begins like this."""
    text = (folder / f"{page}.md").read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    [only] = [code for code in found if code.startswith(beginning)]
    return str(only)
